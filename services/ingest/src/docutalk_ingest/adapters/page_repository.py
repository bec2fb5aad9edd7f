"""Every query about what is seen of a document: a page's text, where its file lies, its units, its lines, its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from docutalk_common.contracts.ingest import ListUnits, Page, PageRef, RenderedPage, Unit, Units
from sqlalchemy import RowMapping, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.tables import documents, renderings, units, versions


@dataclass(frozen=True)
class StoredPage:
    """A page, and the object that holds its file: the copy without protection where there is one. `lines` as in
    `ExtractedPage`.
    """

    workspace_id: UUID
    document_id: UUID
    version: int
    number: int
    text: str
    lines: Sequence[Sequence[float]] | None
    object_key: str
    content_type: str


class PageRepository:
    """Pages of documents that are not deleted, within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, workspace_id: UUID, document_id: UUID, version: int | None, number: int) -> StoredPage | None:
        """A page of a version, or of the one that is served. None when there is no such page in this workspace."""
        row = await self._one(_PAGE, workspace=workspace_id, document=document_id, version=version, number=number)
        return StoredPage(**row) if row else None

    async def pages(self, workspace_id: UUID, refs: Sequence[PageRef]) -> list[Page]:
        """The pages, or parts of pages, that exist, in the order asked. Offsets count code points."""
        rows = await self._session.execute(
            _PAGE_TEXTS,
            {
                "workspace": workspace_id,
                "documents": [ref.document_id for ref in refs],
                "versions": [ref.version for ref in refs],
                "numbers": [ref.number for ref in refs],
                "starts": [max(0, ref.start) for ref in refs],
                "ends": [ref.end for ref in refs],
            },
        )
        return [Page.model_validate(dict(row)) for row in rows.mappings()]

    async def rendering(self, object_key: str) -> RenderedPage | None:
        """The picture under this key, if it was made before."""
        shown = (renderings.c[name] for name in RenderedPage.model_fields)
        row = (await self._session.execute(select(*shown).where(renderings.c.object_key == object_key))).mappings().one_or_none()
        return RenderedPage.model_validate(dict(row)) if row else None

    async def keep_rendering(self, page: StoredPage, rendered: RenderedPage) -> bool:
        """Notes a picture, so that it goes with its version. False when that is gone: the picture must go too."""
        # Whoever removes a version has locked its document: we wait for that, or it waits and then finds the picture.
        kept = (
            select(versions.c.version)
            .join(documents, documents.c.document_id == versions.c.document_id)
            .where(
                documents.c.document_id == page.document_id,
                documents.c.deleted_at.is_(None),
                versions.c.version == page.version,
            )
            .with_for_update(read=True, of=documents)
        )
        if await self._session.scalar(kept) is None:
            return False
        values = {"document_id": page.document_id, "version": page.version, "number": page.number, **rendered.model_dump()}
        await self._session.execute(insert(renderings).values(values).on_conflict_do_nothing())
        return True

    async def units(self, request: ListUnits, *, most: int) -> Units | None:
        """Units after an ordinal, in order. None when there is no such document or version in this workspace."""
        version = await self._one(_VERSION, workspace=request.workspace_id, document=request.document_id, version=request.version)
        if version is None:
            return None
        which = [
            units.c.document_id == request.document_id,
            units.c.version == version["version"],
            units.c.ordinal > request.after,
        ]
        if request.number is not None:
            which.append(units.c.page == request.number)
        shown = [units.c[name] for name in ("ordinal", "page", "kind", "label", "level")]
        statement = (
            select(*shown, units.c.start_offset.label("start"), units.c.end_offset.label("end"))
            .where(*which)
            .order_by(units.c.ordinal)
            .limit(most + 1)
        )
        found = [Unit.model_validate(dict(row)) for row in (await self._session.execute(statement)).mappings()]
        return Units(
            items=found[:most],
            extractor=version["extractor"],
            text_hash=version["text_hash"],
            more=len(found) > most,
        )

    async def _one(self, statement: Any, **values: Any) -> RowMapping | None:
        return (await self._session.execute(statement, values)).mappings().one_or_none()


_SERVED = "coalesce(CAST(:version AS integer), d.served_version, d.version)"
_PAGE = text(
    f"""
    SELECT d.workspace_id, p.document_id, p.version, p.number, p.text, p.lines,
      coalesce(v.unlocked_key, v.object_key) AS object_key, v.content_type
    FROM documents d
    JOIN pages p ON p.document_id = d.document_id AND p.version = {_SERVED} AND p.number = :number
    JOIN versions v ON v.document_id = p.document_id AND v.version = p.version
    WHERE d.document_id = :document AND d.workspace_id = :workspace AND d.deleted_at IS NULL
    """  # noqa: S608  nothing in it comes from outside
)
_VERSION = text(
    f"""
    SELECT v.version, v.extractor, v.text_hash
    FROM documents d JOIN versions v ON v.document_id = d.document_id AND v.version = {_SERVED}
    WHERE d.document_id = :document AND d.workspace_id = :workspace AND d.deleted_at IS NULL
    """  # noqa: S608
)
# While no version is ready, the pages of the one in the making can be read as soon as they are stored.
_PAGE_TEXTS = text(
    """
    SELECT p.document_id, p.version, p.number, p.kind, p.label, a.start,
      CASE WHEN a.start = 0 AND a.stop IS NULL THEN p.text
           WHEN a.stop IS NULL THEN substr(p.text, a.start + 1)
           ELSE substr(p.text, a.start + 1, greatest(0, a.stop - a.start)) END AS text
    FROM unnest(
      CAST(:documents AS uuid[]), CAST(:versions AS integer[]), CAST(:numbers AS integer[]), CAST(:starts AS integer[]),
      CAST(:ends AS integer[])
    ) WITH ORDINALITY AS a(document_id, version, number, start, stop, place)
    JOIN documents d ON d.document_id = a.document_id AND d.workspace_id = :workspace AND d.deleted_at IS NULL
    JOIN pages p ON p.document_id = d.document_id AND p.number = a.number
      AND p.version = coalesce(a.version, d.served_version, d.version)
    ORDER BY a.place
    """
)

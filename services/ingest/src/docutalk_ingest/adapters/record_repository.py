"""Every query about a workspace's records as a whole: what they take, and what is carried to another installation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from docutalk_common.contracts.ingest import ExportedDocument, ExportedSource, ExportedVersion, WorkspaceUsage
from sqlalchemy import Table, and_, func, or_, select, text, union
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.source_tables import sources
from docutalk_ingest.adapters.tables import documents, versions


class RecordRepository:
    """Documents and sources, within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def usage(self, workspace_id: UUID) -> WorkspaceUsage:
        """Collected are documents that say where they were found, also when their source is gone. Pages are those of the
        versions that are served, or that are the only ones."""
        row = (await self._session.execute(_USAGE, {"workspace": workspace_id})).mappings().one()
        which = and_(sources.c.workspace_id == workspace_id, sources.c.deleted_at.is_(None))
        count = await self._session.scalar(select(func.count()).select_from(sources).where(which))
        return WorkspaceUsage(**{name: int(number) for name, number in row.items()}, sources=count or 0)

    async def known(self, ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that a document or a source has, in any workspace, deleted ones included."""
        found = union(
            select(documents.c.document_id).where(documents.c.document_id.in_(ids)),
            select(sources.c.source_id).where(sources.c.source_id.in_(ids)),
        )
        return list(await self._session.scalars(found))

    async def sources(self, workspace_id: UUID, after: UUID | None, most: int) -> list[ExportedSource]:
        """The next ones by id."""
        shown = [sources.c[name] for name in ExportedSource.model_fields]
        which = [sources.c.workspace_id == workspace_id, sources.c.deleted_at.is_(None)]
        if after is not None:
            which.append(sources.c.source_id > after)
        rows = await self._session.execute(select(*shown).where(*which).order_by(sources.c.source_id).limit(most))
        return [ExportedSource.model_validate(dict(row)) for row in rows.mappings()]

    async def documents(self, workspace_id: UUID, after: UUID | None, most: int) -> list[ExportedDocument]:
        """The next ones by id, with their versions."""
        shown = [documents.c[name] for name in ExportedDocument.model_fields if name in documents.c]
        which = [documents.c.workspace_id == workspace_id, documents.c.deleted_at.is_(None)]
        if after is not None:
            which.append(documents.c.document_id > after)
        statement = select(*shown).where(*which).order_by(documents.c.document_id).limit(most)
        rows = [dict(row) for row in (await self._session.execute(statement)).mappings()]
        kept = await self._versions([row["document_id"] for row in rows])
        return [ExportedDocument.model_validate(row | {"versions": kept.get(row["document_id"], [])}) for row in rows]

    async def _versions(self, document_ids: Sequence[UUID]) -> dict[UUID, list[ExportedVersion]]:
        shown = [versions.c[name] for name in ExportedVersion.model_fields]
        rows = await self._session.execute(
            select(versions.c.document_id, *shown)
            .where(versions.c.document_id.in_(document_ids))
            .order_by(versions.c.document_id, versions.c.version)
        )
        found: dict[UUID, list[ExportedVersion]] = {}
        for row in rows.mappings():
            found.setdefault(row["document_id"], []).append(ExportedVersion.model_validate(dict(row)))
        return found

    async def taken(self, workspace_id: UUID, document_ids: Sequence[UUID], source_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that cannot be this workspace's: another one has them, or they are of something that was deleted."""
        return list(
            await self._session.scalars(
                union(
                    *(
                        select(_id(table)).where(
                            _id(table).in_(ids), or_(table.c.workspace_id != workspace_id, table.c.deleted_at.is_not(None))
                        )
                        for table, ids in ((documents, document_ids), (sources, source_ids))
                    )
                )
            )
        )

    async def hold_sources(self, workspace_id: UUID, source_ids: Sequence[UUID]) -> set[UUID]:
        """Those of the sources that are there; they are until this transaction ends."""
        which = and_(sources.c.source_id.in_(source_ids), sources.c.workspace_id == workspace_id, sources.c.deleted_at.is_(None))
        return set(await self._session.scalars(select(sources.c.source_id).where(which).with_for_update(read=True)))


def _id(table: Table) -> Any:
    return next(iter(table.primary_key.columns))


# Versions are joined once: with a hundred thousand documents that is a third of a second, and each upload may ask.
_USAGE = text(
    """
    WITH d AS (
      SELECT document_id, version, served_version, page_count, origin FROM documents
      WHERE workspace_id = :workspace AND deleted_at IS NULL)
    SELECT (SELECT count(*) FROM d) AS documents, coalesce(sum(v.size), 0) AS bytes,
      coalesce(sum(coalesce(v.page_count, d.page_count)) FILTER (WHERE v.version = coalesce(d.served_version, d.version)), 0)
        AS pages,
      (SELECT count(*) FROM d WHERE origin IS NOT NULL) AS collected_documents,
      coalesce(sum(v.size) FILTER (WHERE d.origin IS NOT NULL), 0) AS collected_bytes,
      coalesce(sum(v.size) FILTER (WHERE d.origin IS NULL AND v.version < d.version), 0) AS older_bytes
    FROM d JOIN versions v USING (document_id)
    """
)

"""Every query of this service.

Each change of a document is one conditional `UPDATE`: it holds only for the version it speaks of, never for a deleted document,
and returns nothing where it did not apply. So late, repeated and reordered messages need no further thought in the use cases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import Document, DocumentStatus, Page, PageRef
from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.tables import documents, pages
from docutalk_ingest.domain import ExtractedPage, ExtractionSummary

UNFINISHED = (DocumentStatus.QUEUED, DocumentStatus.EXTRACTING, DocumentStatus.CHUNKING, DocumentStatus.EMBEDDING)
UNREAD = (DocumentStatus.QUEUED, DocumentStatus.EXTRACTING, DocumentStatus.CHUNKING)
"""Before the pages are stored."""
PROGRESS_INTERVAL = timedelta(seconds=1)

_SHOWN = [documents.c[name] for name in Document.model_fields if name in documents.c]


def _current(document_id: UUID, version: int) -> ColumnElement[bool]:
    return and_(documents.c.document_id == document_id, documents.c.version == version, documents.c.deleted_at.is_(None))


class DocumentRepository:
    """Documents and pages, within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def _change(self, which: ColumnElement[bool], **values: Any) -> Document | None:
        statement = update(documents).where(which).values(updated_at=func.now(), **values).returning(*_SHOWN)
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Document.model_validate(dict(row)) if row else None

    async def register(
        self,
        upload: DocumentUploaded,
        *,
        uploaded_at: datetime,
        status: DocumentStatus = DocumentStatus.QUEUED,
        code: str | None = None,
        reason: str | None = None,
    ) -> Document | None:
        """A new document, or a new version of one. None when this or a later version, or its deletion, is known already."""
        values = {
            "workspace_id": upload.workspace_id,
            "version": upload.version,
            "filename": upload.filename,
            "content_type": upload.content_type,
            "size": upload.size,
            "sha256": upload.sha256,
            "object_key": upload.object_key,
            "status": status,
            "code": code,
            "reason": reason,
            "page_count": None,
            "pages_done": 0,
            "chunk_count": None,
            "chunks_done": 0,
        }
        statement = (
            insert(documents)
            .values(document_id=upload.document_id, created_by=upload.uploaded_by, created_at=uploaded_at, **values)
            .on_conflict_do_update(
                index_elements=[documents.c.document_id],
                set_={**values, "updated_at": func.now(), "progressed_at": None},
                where=and_(
                    documents.c.version < upload.version,
                    documents.c.workspace_id == upload.workspace_id,
                    documents.c.deleted_at.is_(None),
                ),
            )
            .returning(*_SHOWN)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Document.model_validate(dict(row)) if row else None

    async def get(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """A document that is not deleted."""
        statement = select(*_SHOWN).where(
            documents.c.document_id == document_id, documents.c.workspace_id == workspace_id, documents.c.deleted_at.is_(None)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Document.model_validate(dict(row)) if row else None

    async def begin_extraction(self, document_id: UUID, version: int) -> Document | None:
        """The document, now `extracting`; None when there is nothing to extract (any more)."""
        return await self._change(
            and_(_current(document_id, version), documents.c.status.in_(UNREAD)),
            status=DocumentStatus.EXTRACTING,
            progressed_at=func.now(),
        )

    async def note_pages_done(self, document_id: UUID, version: int, done: int, of: int | None) -> Document | None:
        """Counts move on while extracting, never back: a second try starts again from the first page."""
        return await self._change(
            and_(_current(document_id, version), documents.c.status == DocumentStatus.EXTRACTING, documents.c.pages_done < done),
            pages_done=done,
            page_count=func.coalesce(of, documents.c.page_count),
            progressed_at=func.now(),
        )

    async def lock_for_extraction(self, document_id: UUID, version: int) -> Document | None:
        """The document as long as its pages are still wanted; no other transaction changes it until this one ends."""
        statement = select(*_SHOWN).where(_current(document_id, version), documents.c.status.in_(UNREAD)).with_for_update()
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Document.model_validate(dict(row)) if row else None

    async def store_pages(
        self, connection: asyncpg.Connection, document_id: UUID, version: int, extracted: AsyncIterator[ExtractedPage]
    ) -> None:
        """Replaces the pages of every version of the document, by binary COPY."""
        await self.delete_pages(document_id)
        await connection.copy_records_to_table(
            "pages",
            columns=["document_id", "version", "number", "label", "text"],
            records=((document_id, version, page.number, page.label, page.text) async for page in extracted),
        )

    async def finish_extraction(
        self, document_id: UUID, version: int, summary: ExtractionSummary, *, code: str | None, reason: str | None
    ) -> Document | None:
        """The pages are stored: `embedding`, or `ready` at once when there is nothing to embed."""
        return await self._change(
            _current(document_id, version),
            status=DocumentStatus.EMBEDDING if summary.chunk_count else DocumentStatus.READY,
            content_type=summary.content_type,
            page_count=summary.page_count,
            pages_done=summary.page_count,
            chunk_count=summary.chunk_count,
            chunks_done=0,
            code=code,
            reason=reason,
            progressed_at=func.now(),
        )

    async def note_chunks_done(self, document_id: UUID, version: int, done: int) -> tuple[Document, bool] | None:
        """Moves the count on; None when it did not move. The flag tells whether a second has passed since progress was told."""
        due = or_(documents.c.progressed_at.is_(None), documents.c.progressed_at <= func.now() - PROGRESS_INTERVAL)
        behind = and_(
            _current(document_id, version), documents.c.status == DocumentStatus.EMBEDDING, documents.c.chunks_done < done
        )
        is_due = await self._session.scalar(select(due).where(behind).with_for_update())
        if is_due is None:
            return None
        changed = await self._change(
            behind,
            chunks_done=func.least(done, func.coalesce(documents.c.chunk_count, done)),
            progressed_at=func.now() if is_due else documents.c.progressed_at,
        )
        assert changed is not None, "the row is locked"
        return changed, is_due

    async def mark_ready(self, document_id: UUID, version: int, chunk_count: int) -> Document | None:
        """`ready`: also for a document that was given up on and whose messages were sent again since."""
        return await self._change(
            and_(
                _current(document_id, version),
                documents.c.status.in_((*UNFINISHED, DocumentStatus.FAILED)),
                documents.c.chunk_count.is_not(None),
            ),
            status=DocumentStatus.READY,
            chunks_done=func.greatest(documents.c.chunks_done, chunk_count),
            # What was said about unreadable pages stays true; why it had failed does not.
            code=case((documents.c.status == DocumentStatus.FAILED, None), else_=documents.c.code),
            reason=case((documents.c.status == DocumentStatus.FAILED, None), else_=documents.c.reason),
        )

    async def mark_failed(self, document_id: UUID, version: int, code: str, reason: str) -> Document | None:
        """`failed`, unless the document has come to another end already."""
        return await self._change(
            and_(_current(document_id, version), documents.c.status.in_(UNFINISHED)),
            status=DocumentStatus.FAILED,
            code=code,
            reason=reason,
        )

    async def delete(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """Leaves a tombstone and removes the pages. None when there is no such document."""
        deleted = await self._change(
            and_(
                documents.c.document_id == document_id,
                documents.c.workspace_id == workspace_id,
                documents.c.deleted_at.is_(None),
            ),
            deleted_at=func.now(),
        )
        if deleted:
            await self.delete_pages(document_id)
        return deleted

    async def delete_pages(self, document_id: UUID) -> None:
        """Removes the pages of every version."""
        await self._session.execute(delete(pages).where(pages.c.document_id == document_id))

    async def find(
        self, workspace_id: UUID, *, status: DocumentStatus | None, q: str | None, page: int, per_page: int
    ) -> tuple[list[Document], int]:
        """A page of documents, newest first, and how many there are in all."""
        which = [documents.c.workspace_id == workspace_id, documents.c.deleted_at.is_(None)]
        if status is not None:
            which.append(documents.c.status == status)
        if q:
            which.append(documents.c.filename.icontains(q, autoescape=True))
        statement = (
            select(*_SHOWN)
            .where(*which)
            .order_by(documents.c.created_at.desc(), documents.c.document_id.desc())
            .limit(per_page)
            .offset((page - 1) * per_page)
        )
        rows = (await self._session.execute(statement)).mappings().all()
        total = await self._session.scalar(select(func.count()).select_from(documents).where(*which))
        return [Document.model_validate(dict(row)) for row in rows], total or 0

    async def known(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that were registered here, deleted ones included."""
        if not document_ids:
            return []
        statement = select(documents.c.document_id).where(
            documents.c.workspace_id == workspace_id, documents.c.document_id.in_(document_ids)
        )
        return list((await self._session.scalars(statement)).all())

    async def pages(self, workspace_id: UUID, refs: Sequence[PageRef]) -> list[Page]:
        """The pages, or parts of pages, that exist, in the order asked. Offsets count code points."""
        rows = await self._session.execute(
            _PAGES,
            {
                "workspace": workspace_id,
                "documents": [ref.document_id for ref in refs],
                "numbers": [ref.number for ref in refs],
                "starts": [max(0, ref.start) for ref in refs],
                "ends": [ref.end for ref in refs],
            },
        )
        return [Page.model_validate(dict(row)) for row in rows.mappings()]


_PAGES = text(
    """
    SELECT p.document_id, p.number, p.label, a.start,
      CASE WHEN a.start = 0 AND a.stop IS NULL THEN p.text
           WHEN a.stop IS NULL THEN substr(p.text, a.start + 1)
           ELSE substr(p.text, a.start + 1, greatest(0, a.stop - a.start)) END AS text
    FROM unnest(
      CAST(:documents AS uuid[]), CAST(:numbers AS integer[]), CAST(:starts AS integer[]), CAST(:ends AS integer[])
    ) WITH ORDINALITY AS a(document_id, number, start, stop, place)
    JOIN documents d ON d.document_id = a.document_id AND d.workspace_id = :workspace AND d.deleted_at IS NULL
    JOIN pages p ON p.document_id = d.document_id AND p.version = d.version AND p.number = a.number
    ORDER BY a.place
    """
)

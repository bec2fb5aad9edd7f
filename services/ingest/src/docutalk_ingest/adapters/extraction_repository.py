"""Every query about reading a document: its turn, how far it is, and what has been read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from docutalk_common.contracts.ingest import Document, DocumentMetadata, DocumentStatus, ExtractDocument
from docutalk_common.db import Cause
from sqlalchemy import and_, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from docutalk_ingest.adapters.document_rows import (
    ALIVE,
    SHOWN,
    DocumentRows,
    WaitingWork,
    cause_of,
    current,
    room_in_line,
    stored_cause,
)
from docutalk_ingest.adapters.tables import documents, pages, units, versions
from docutalk_ingest.domain import UNREAD, ExtractedPage, ExtractionSummary, Window, freeze

MAX_METADATA = 1_000
"""Characters of a title or an author; the title travels with every batch."""


@dataclass(frozen=True)
class Begun:
    """A document whose extraction begins. `filename` is the name its file came with, by which its format is told."""

    document: Document
    filename: str
    password: str | None


class ExtractionRepository(DocumentRows):
    """Documents that wait to be read or are being read, within the transaction of `session`."""

    async def room_for_documents(self, workspace_id: UUID, window: Window) -> bool:
        """Whether a document of this workspace can go at once: there is room, and nobody waits for it."""
        waiting = and_(
            documents.c.status == DocumentStatus.QUEUED, documents.c.released_at.is_(None), documents.c.deleted_at.is_(None)
        )
        released = and_(documents.c.released_at.is_not(None), documents.c.status.in_(UNREAD), documents.c.deleted_at.is_(None))
        row = (await self._session.execute(room_in_line(documents, waiting, released, workspace_id))).one()
        return not row.waiting and window.has_room(row.total, row.mine)

    async def release_document(self, document_id: UUID) -> WaitingWork | None:
        """Takes a document out of the line; None when it waits no longer."""
        statement = (
            update(documents)
            .where(
                documents.c.document_id == document_id,
                documents.c.status == DocumentStatus.QUEUED,
                documents.c.released_at.is_(None),
                ALIVE,
            )
            .values(released_at=func.now())
            .returning(documents.c.workspace_id, documents.c.version, documents.c.attempt, documents.c.cause)
        )
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            return None
        work = ExtractDocument(workspace_id=row.workspace_id, document_id=document_id, version=row.version, attempt=row.attempt)
        return WaitingWork(work, *cause_of(row.cause))

    async def begin_extraction(self, document_id: UUID, version: int, attempt: int) -> Begun | None:
        """The document, now `extracting`; None when there is nothing to extract (any more)."""
        statement = (
            update(documents)
            .where(
                current(document_id, version, attempt),
                documents.c.status.in_(UNREAD),
                versions.c.document_id == documents.c.document_id,
                versions.c.version == documents.c.version,
            )
            .values(status=DocumentStatus.EXTRACTING, updated_at=func.now(), progressed_at=func.now(), released_at=func.now())
            .returning(*SHOWN, documents.c.password, versions.c.filename.label("came_as"))
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Begun(Document.model_validate(dict(row)), row["came_as"], row["password"]) if row else None

    async def is_wanted(self, document: Document) -> bool:
        """Whether the pages of this version and attempt are still waited for."""
        which = and_(current(document.document_id, document.version, document.attempt), documents.c.status.in_(UNREAD))
        return await self._session.scalar(select(literal(1)).where(which)) is not None

    async def keep_released(self, document: Document) -> None:
        """Says that this document is still being read: work of which nothing is heard for long is handed out again."""
        which = and_(current(document.document_id, document.version, document.attempt), documents.c.status.in_(UNREAD))
        await self._session.execute(update(documents).where(which).values(released_at=func.now()))

    async def note_pages_done(self, document: Document, done: int, of: int | None) -> Document | None:
        """Counts move on while extracting, never back: a second try starts again from the first page."""
        return await self._change(
            and_(
                current(document.document_id, document.version, document.attempt),
                documents.c.status == DocumentStatus.EXTRACTING,
                documents.c.pages_done < done,
            ),
            pages_done=done,
            page_count=func.coalesce(of, documents.c.page_count),
            progressed_at=func.now(),
        )

    async def lock_for_extraction(self, document: Document) -> Document | None:
        """The document as long as its pages are still wanted; no other transaction changes it until this one ends."""
        which = and_(current(document.document_id, document.version, document.attempt), documents.c.status.in_(UNREAD))
        return await self._one(select(*SHOWN).where(which).with_for_update())

    async def store_pages(
        self, connection: asyncpg.Connection, document_id: UUID, version: int, extracted: AsyncIterator[ExtractedPage]
    ) -> None:
        """Replaces the pages of this version, by binary COPY. Its units go too."""
        for table in (pages, units):
            await self._session.execute(delete(table).where(table.c.document_id == document_id, table.c.version == version))
        await connection.copy_records_to_table(
            "pages",
            columns=["document_id", "version", "number", "kind", "label", "text", "lines"],
            records=(
                (
                    document_id,
                    version,
                    page.number,
                    page.kind,
                    _label(page.label),
                    page.text,
                    None if page.lines is None else json.dumps(page.lines),
                )
                async for page in extracted
            ),
        )

    async def store_units(
        self, connection: asyncpg.Connection, document_id: UUID, version: int, extracted: AsyncIterator[ExtractedPage]
    ) -> None:
        """Adds the units of a version, by binary COPY. They are numbered from 1 in the order of the pages."""

        async def records() -> AsyncIterator[tuple[Any, ...]]:
            ordinal = 0
            async for page in extracted:
                for unit in page.units:
                    ordinal += 1
                    where = (page.number, unit.kind, _label(unit.label), unit.level, unit.start, unit.end)
                    yield (document_id, version, ordinal, *where)

        columns = ["document_id", "version", "ordinal", "page", "kind", "label", "level", "start_offset", "end_offset"]
        await connection.copy_records_to_table("units", columns=columns, records=records())

    async def finish_extraction(
        self,
        document: Document,
        summary: ExtractionSummary,
        *,
        code: str | None = None,
        reason: str | None = None,
        unlocked_key: str | None = None,
        cause: Cause | None = None,
    ) -> Document | None:
        """The pages are stored: `embedding`, or `ready` at once when embed has nothing to do. The password is forgotten."""
        read = {"extractor": summary.extractor, "text_hash": summary.text_hash, "unlocked_key": unlocked_key}
        await self._session.execute(
            update(versions)
            .where(versions.c.document_id == document.document_id, versions.c.version == document.version)
            .values(content_type=summary.content_type, page_count=summary.page_count, **read)
        )
        await self._wake_dispatcher()
        finished = await self._change(
            current(document.document_id, document.version, document.attempt),
            status=DocumentStatus.EMBEDDING if summary.batch_count else DocumentStatus.READY,
            served_version=documents.c.served_version if summary.batch_count else document.version,
            content_type=summary.content_type,
            metadata=_storable(summary.metadata),
            page_count=summary.page_count,
            pages_done=summary.page_count,
            chunk_count=summary.chunk_count,
            chunks_done=func.least(documents.c.chunks_done, summary.chunk_count),
            batch_count=summary.batch_count,
            code=code,
            reason=reason,
            password=None,
            # Whose document it is may have been forgotten since the message was sent that says it.
            cause=literal(stored_cause(cause), JSONB).concat(func.jsonb_build_object("actor", documents.c.cause["actor"])),
            progressed_at=func.now(),
            **read,
        )
        if not summary.batch_count:
            await self._begin_next_version(document.document_id)
        return finished


def _storable(metadata: DocumentMetadata) -> dict[str, Any]:
    """What documents say of themselves may hold what PostgreSQL cannot, and be longer than the document."""
    said = metadata.model_dump(mode="json")
    return {name: freeze(value)[:MAX_METADATA] if isinstance(value, str) else value for name, value in said.items()}


def _label(label: str) -> str:
    return label if label.isprintable() else freeze(label)

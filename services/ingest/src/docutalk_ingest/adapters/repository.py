"""Every query about documents, their versions, their pages and the batches of their chunks.

Each change of a document is one conditional `UPDATE`: it holds only for the version (and attempt) it speaks of, never for a
deleted document, and returns nothing where it did not apply. So late, repeated and reordered messages need no further thought
in the use cases.

A transaction that changes a document and its batches changes the document first; the other way about two of them waited for
each other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import (
    Chunk,
    Document,
    DocumentMetadata,
    DocumentStatus,
    DocumentVersion,
    ExtractDocument,
    IndexChunks,
    IndexChunksExpress,
    Page,
    PageRef,
)
from docutalk_common.db import Cause
from docutalk_common.telemetry import current_traceparent
from pydantic import TypeAdapter
from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.tables import batches, documents, pages, renderings, units, versions
from docutalk_ingest.domain import (
    MAX_NAMED_OBJECTS,
    RETRIABLE,
    UNFINISHED,
    UNREAD,
    Batch,
    ExtractedPage,
    ExtractionSummary,
    Window,
    freeze,
)

PROGRESS_INTERVAL = timedelta(seconds=1)
MAX_METADATA = 1_000
"""Characters of a title or an author; the title travels with every batch."""
DISPATCH_CHANNEL = "ingest_dispatch"
"""Notified in every transaction that adds work to hand out, or makes room for more."""

_SHOWN = [documents.c[name] for name in Document.model_fields if name in documents.c]
CHUNKS = TypeAdapter(list[Chunk])


@dataclass(frozen=True)
class Begun:
    """A document whose extraction begins. `filename` is the name its file came with, by which its format is told."""

    document: Document
    filename: str
    password: str | None


@dataclass(frozen=True)
class WaitingWork:
    """A piece of work that is handed out now, and what led to it."""

    message: ExtractDocument | IndexChunks
    cause: Cause
    traceparent: str | None


@dataclass(frozen=True)
class Counted:
    """What a word of embed about its progress came to. `document` is None when the counts did not move.

    `due`: a second has passed since progress was told. `complete`: embed holds every chunk. `batch` tells of the batch that is
    done now: how many chunks, and when it was handed out.
    """

    document: Document | None = None
    due: bool = False
    complete: bool = False
    batch: tuple[int, datetime | None] | None = None


@dataclass(frozen=True)
class Deletion:
    """A deleted document with the keys of what it had in the object store, at most `MAX_NAMED_OBJECTS`."""

    document: Document
    object_keys: list[str]


@dataclass(frozen=True)
class Pruned:
    """Versions that are kept no longer, and the keys of their objects, at most `MAX_NAMED_OBJECTS`."""

    versions: list[int]
    object_keys: list[str]


# For whoever names documents by their ids. Opaque on purpose: a plain `IS NULL` lets the planner take one of the partial indexes,
# and of a table that it has not analysed since 10,000 rows came in at once it takes the wrong one: 8 ms instead of 1.
_ALIVE = func.num_nulls(documents.c.deleted_at) == 1


def _current(document_id: UUID, version: int, attempt: int | None = None) -> ColumnElement[bool]:
    which = [documents.c.document_id == document_id, documents.c.version == version, _ALIVE]
    if attempt is not None:
        which.append(documents.c.attempt == attempt)
    return and_(*which)


def _cause(cause: Cause | None) -> dict[str, str | None]:
    if cause is None:
        return {}
    return {
        "correlation_id": str(cause.correlation_id),
        "causation_id": str(cause.causation_id) if cause.causation_id else None,
        "actor": cause.actor,
        "traceparent": current_traceparent(),
    }


def _columns_of(upload: DocumentUploaded, cause: Cause | None) -> dict[str, Any]:
    """A document's row when a version of it begins, but for its key and who made it."""
    return {
        "workspace_id": upload.workspace_id,
        "version": upload.version,
        "attempt": 1,
        "filename": upload.filename,
        "content_type": upload.content_type,
        "size": upload.size,
        "sha256": upload.sha256,
        "object_key": upload.object_key,
        "status": DocumentStatus.QUEUED,
        "code": None,
        "reason": None,
        "page_count": None,
        "pages_done": 0,
        "chunk_count": None,
        "chunks_done": 0,
        "batch_count": None,
        "metadata": {},
        "extractor": None,
        "text_hash": None,
        "source_id": None,
        "origin": None,
        "password": None,
        "unlocked_key": None,
        "released_at": None,
        "cause": _cause(cause),
    }


def _version_of(upload: DocumentUploaded, came_at: datetime) -> dict[str, Any]:
    """A version's row when it begins."""
    return {
        "document_id": upload.document_id,
        "version": upload.version,
        "filename": upload.filename,
        "content_type": upload.content_type,
        "size": upload.size,
        "sha256": upload.sha256,
        "object_key": upload.object_key,
        "created_by": upload.uploaded_by,
        "created_at": came_at,
    }


@dataclass(frozen=True)
class NewUpload:
    """The rows of a document's first version."""

    document: dict[str, Any]
    version: dict[str, Any]

    @classmethod
    def of(cls, upload: DocumentUploaded, came_at: datetime, cause: Cause) -> NewUpload:
        """To be called where the upload is handled: the row keeps the trace that is at hand here."""
        about = {"document_id": upload.document_id, "created_by": upload.uploaded_by, "created_at": came_at}
        return cls(_columns_of(upload, cause) | about, _version_of(upload, came_at))


def _cause_of(stored: dict[str, str | None]) -> tuple[Cause, str | None]:
    correlation, causation = stored.get("correlation_id"), stored.get("causation_id")
    if correlation is None:
        return Cause.new(), None
    cause = Cause(UUID(correlation), UUID(causation) if causation else None, stored.get("actor"))
    return cause, stored.get("traceparent")


def _storable(metadata: DocumentMetadata) -> dict[str, Any]:
    """What documents say of themselves may hold what PostgreSQL cannot, and be longer than the document."""
    said = metadata.model_dump(mode="json")
    return {name: freeze(value)[:MAX_METADATA] if isinstance(value, str) else value for name, value in said.items()}


def _label(label: str) -> str:
    return label if label.isprintable() else freeze(label)


class DocumentRepository:
    """Documents and what belongs to them, within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def _change(self, which: ColumnElement[bool], **values: Any) -> Document | None:
        changed = await self._change_all(which, **values)
        return changed[0] if changed else None

    async def _change_all(self, which: ColumnElement[bool], **values: Any) -> list[Document]:
        statement = update(documents).where(which).values(updated_at=func.now(), **values).returning(*_SHOWN)
        return [Document.model_validate(dict(row)) for row in (await self._session.execute(statement)).mappings()]

    async def _one(self, statement: Select[Any]) -> Document | None:
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Document.model_validate(dict(row)) if row else None

    async def wake_dispatcher(self) -> None:
        """Lets the dispatcher look at once when this transaction is committed."""
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": DISPATCH_CHANNEL})

    async def room_for_documents(self, workspace_id: UUID, window: Window) -> bool:
        """Whether a document of this workspace can go at once: there is room, and nobody waits for it."""
        waiting = and_(
            documents.c.status == DocumentStatus.QUEUED, documents.c.released_at.is_(None), documents.c.deleted_at.is_(None)
        )
        released = and_(documents.c.released_at.is_not(None), documents.c.status.in_(UNREAD), documents.c.deleted_at.is_(None))
        row = (await self._session.execute(_room(documents, waiting, released, workspace_id))).one()
        return not row.waiting and window.has_room(row.total, row.mine)

    async def room_for_batches(self, workspace_id: UUID, window: Window) -> tuple[int, bool]:
        """How many batches of this workspace can go at once, nobody waiting for the room; and whether it has none in flight."""
        waiting = and_(batches.c.released_at.is_(None), ~batches.c.held)
        released = and_(batches.c.released_at.is_not(None), ~batches.c.held)
        row = (await self._session.execute(_room(batches, waiting, released, workspace_id))).one()
        if row.waiting or not window.has_room(row.total, row.mine):
            return 0, False
        return max(1, window.size - row.total), row.mine == 0

    # --- coming in

    async def register(
        self,
        upload: DocumentUploaded,
        *,
        uploaded_at: datetime,
        status: DocumentStatus = DocumentStatus.QUEUED,
        code: str | None = None,
        reason: str | None = None,
        source_id: UUID | None = None,
        origin: str | None = None,
        cause: Cause | None = None,
        released: bool = False,
    ) -> Document | None:
        """A new document, or a new version of one. None when this or a later version, or its deletion, is known already.

        Pages of earlier versions stay, and are served until the new one is ready; their waiting batches go. `released`: its
        extraction is ordered by the caller; otherwise the dispatcher will do it.
        """
        values = _columns_of(upload, cause) | {
            "status": status,
            "code": code,
            "reason": reason,
            "source_id": source_id,
            "origin": origin,
            "released_at": func.now() if released else None,
        }
        statement = (
            insert(documents)
            .values(document_id=upload.document_id, created_by=upload.uploaded_by, created_at=uploaded_at, **values)
            .on_conflict_do_update(
                index_elements=[documents.c.document_id],
                set_={**values, "updated_at": func.now(), "queued_at": func.now(), "progressed_at": None},
                where=and_(
                    documents.c.version < upload.version,
                    documents.c.workspace_id == upload.workspace_id,
                    _ALIVE,
                ),
            )
            .returning(*_SHOWN)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        if row is None:
            return None
        await self._session.execute(insert(versions).values(_version_of(upload, uploaded_at)).on_conflict_do_nothing())
        if upload.version > 1:
            await self._session.execute(
                delete(batches).where(batches.c.document_id == upload.document_id, batches.c.version < upload.version)
            )
        if not released:
            await self.wake_dispatcher()
        return Document.model_validate(dict(row))

    async def register_new(self, uploads: Sequence[NewUpload]) -> list[Document]:
        """Registers first versions together, in two statements; those that are known already are left out."""
        if not uploads:
            return []
        added = await self._session.execute(
            insert(documents).on_conflict_do_nothing().returning(*_SHOWN), [upload.document for upload in uploads]
        )
        registered = [Document.model_validate(dict(row)) for row in added.mappings()]
        known = {document.document_id for document in registered}
        new = [upload.version for upload in uploads if upload.document["document_id"] in known]
        if new:
            await self._session.execute(insert(versions).on_conflict_do_nothing(), new)
            await self.wake_dispatcher()
        return registered

    async def lock(self, document_id: UUID) -> Document | None:
        """The document, unless it is deleted; no other transaction changes it until this one ends."""
        return await self._one(select(*_SHOWN).where(documents.c.document_id == document_id, _ALIVE).with_for_update())

    async def prune(self, document_id: UUID, keep: int) -> Pruned | None:
        """Forgets the versions before the newest `keep`, but for the one that is served. None when there are none."""
        served = select(documents.c.served_version).where(documents.c.document_id == document_id).scalar_subquery()
        newest = (
            select(versions.c.version)
            .where(versions.c.document_id == document_id)
            .order_by(versions.c.version.desc())
            .limit(keep)
            .scalar_subquery()
        )
        old = await self._session.scalars(
            select(versions.c.version)
            .where(
                versions.c.document_id == document_id,
                versions.c.version.not_in(newest),
                versions.c.version != func.coalesce(served, 0),
            )
            .order_by(versions.c.version)
        )
        numbers = list(old)
        if not numbers:
            return None
        keys = await self._object_keys([document_id], numbers)
        for table in (pages, units, batches, renderings, versions):
            await self._session.execute(delete(table).where(table.c.document_id == document_id, table.c.version.in_(numbers)))
        return Pruned(numbers, keys.get(document_id, []))

    # --- being read

    async def begin_extraction(self, document_id: UUID, version: int, attempt: int) -> Begun | None:
        """The document, now `extracting`; None when there is nothing to extract (any more)."""
        statement = (
            update(documents)
            .where(
                _current(document_id, version, attempt),
                documents.c.status.in_(UNREAD),
                versions.c.document_id == documents.c.document_id,
                versions.c.version == documents.c.version,
            )
            .values(status=DocumentStatus.EXTRACTING, updated_at=func.now(), progressed_at=func.now(), released_at=func.now())
            .returning(*_SHOWN, documents.c.password, versions.c.filename.label("came_as"))
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Begun(Document.model_validate(dict(row)), row["came_as"], row["password"]) if row else None

    async def is_wanted(self, document: Document) -> bool:
        """Whether the pages of this version and attempt are still waited for."""
        which = and_(_current(document.document_id, document.version, document.attempt), documents.c.status.in_(UNREAD))
        return await self._session.scalar(select(literal(1)).where(which)) is not None

    async def keep_released(self, document: Document) -> None:
        """Says that this document is still being read: work of which nothing is heard for long is handed out again."""
        which = and_(_current(document.document_id, document.version, document.attempt), documents.c.status.in_(UNREAD))
        await self._session.execute(update(documents).where(which).values(released_at=func.now()))

    async def note_pages_done(self, document: Document, done: int, of: int | None) -> Document | None:
        """Counts move on while extracting, never back: a second try starts again from the first page."""
        return await self._change(
            and_(
                _current(document.document_id, document.version, document.attempt),
                documents.c.status == DocumentStatus.EXTRACTING,
                documents.c.pages_done < done,
            ),
            pages_done=done,
            page_count=func.coalesce(of, documents.c.page_count),
            progressed_at=func.now(),
        )

    async def lock_for_extraction(self, document: Document) -> Document | None:
        """The document as long as its pages are still wanted; no other transaction changes it until this one ends."""
        which = and_(_current(document.document_id, document.version, document.attempt), documents.c.status.in_(UNREAD))
        return await self._one(select(*_SHOWN).where(which).with_for_update())

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

    async def store_batches(
        self, connection: asyncpg.Connection, document: Document, made: Sequence[Batch], *, released: int = 0
    ) -> None:
        """Replaces the batches of this version that embed has not stored, by binary COPY. The first `released` of them are
        handed out by the caller, the others wait."""
        now = await self._session.scalar(select(func.now())) if released else None
        which = and_(batches.c.document_id == document.document_id, batches.c.version == document.version)
        await self._session.execute(delete(batches).where(which))
        await connection.copy_records_to_table(
            "batches",
            columns=["document_id", "version", "batch", "workspace_id", "chunk_count", "chunks", "released_at"],
            records=[
                (
                    document.document_id,
                    document.version,
                    batch.number,
                    document.workspace_id,
                    batch.chunk_count,
                    batch.chunks,
                    now if place < released else None,
                )
                for place, batch in enumerate(made)
            ],
        )

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
        await self.wake_dispatcher()
        return await self._change(
            _current(document.document_id, document.version, document.attempt),
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
            cause=_cause(cause),
            progressed_at=func.now(),
            **read,
        )

    # --- being handed out

    async def release_document(self, document_id: UUID) -> WaitingWork | None:
        """Takes a document out of the line; None when it waits no longer."""
        statement = (
            update(documents)
            .where(
                documents.c.document_id == document_id,
                documents.c.status == DocumentStatus.QUEUED,
                documents.c.released_at.is_(None),
                _ALIVE,
            )
            .values(released_at=func.now())
            .returning(documents.c.workspace_id, documents.c.version, documents.c.attempt, documents.c.cause)
        )
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            return None
        work = ExtractDocument(workspace_id=row.workspace_id, document_id=document_id, version=row.version, attempt=row.attempt)
        return WaitingWork(work, *_cause_of(row.cause))

    async def release_batch(self, document_id: UUID, version: int, batch: int, *, express: bool) -> WaitingWork | None:
        """Takes a batch out of the line; None when it waits no longer."""
        which = and_(batches.c.document_id == document_id, batches.c.version == version, batches.c.batch == batch)
        statement = (
            update(batches)
            .where(
                which,
                func.num_nulls(batches.c.released_at) == 1,
                ~batches.c.held,
                documents.c.document_id == batches.c.document_id,
                _current(document_id, version),
                documents.c.status == DocumentStatus.EMBEDDING,
            )
            .values(released_at=func.now())
            .returning(
                *_SHOWN,
                documents.c.batch_count,
                documents.c.cause,
                cast(batches.c.chunks, Text).label("chunks"),
            )
        )
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            # Of a document that does not wait for it: it would come up again and again.
            await self._session.execute(delete(batches).where(which, batches.c.released_at.is_(None), ~batches.c.held))
            return None
        work = index_work(
            Document.model_validate(dict(row._mapping)), row.batch_count, batch, CHUNKS.validate_json(row.chunks), express=express
        )
        return WaitingWork(work, *_cause_of(row.cause))

    # --- being embedded

    async def note_chunks_done(
        self, document_id: UUID, version: int, done: int, batch: int | None, attempt: int | None = None
    ) -> Counted:
        """Moves the count on, never back, and forgets the batch that is done: not by the word of an earlier attempt, whose
        chunks embed may have dropped since. It is sent again then, which does no harm."""
        due = or_(documents.c.progressed_at.is_(None), documents.c.progressed_at <= func.now() - PROGRESS_INTERVAL)
        state = (
            await self._session.execute(
                select(
                    documents.c.status,
                    documents.c.attempt,
                    documents.c.chunks_done,
                    documents.c.chunk_count,
                    due.label("due"),
                )
                .where(_current(document_id, version))
                .with_for_update()
            )
        ).one_or_none()
        if state is None or state.chunk_count is None:
            return Counted()
        of_this_attempt = attempt is None or attempt == state.attempt
        finished = None
        if batch is not None and of_this_attempt:
            finished = await self._forget_batch(document_id, version, batch)
        embedding = state.status == DocumentStatus.EMBEDDING
        counted = Counted(
            complete=done >= state.chunk_count and (embedding or state.status == DocumentStatus.FAILED), batch=finished
        )
        if not embedding or done <= state.chunks_done:
            return counted
        changed = await self._change(
            _current(document_id, version),
            chunks_done=func.least(done, documents.c.chunk_count),
            progressed_at=func.now() if state.due else documents.c.progressed_at,
        )
        return replace(counted, document=changed, due=state.due)

    async def _forget_batch(self, document_id: UUID, version: int, batch: int) -> tuple[int, datetime | None] | None:
        row = (
            await self._session.execute(
                delete(batches)
                .where(
                    batches.c.document_id == document_id,
                    batches.c.version == version,
                    batches.c.batch == batch,
                    # What has not been handed out cannot be done: word of an attempt that was cancelled since.
                    or_(batches.c.released_at.is_not(None), batches.c.held),
                )
                .returning(batches.c.chunk_count, batches.c.released_at)
            )
        ).one_or_none()
        if row is None:
            return None
        await self.wake_dispatcher()
        return row.chunk_count, row.released_at

    async def mark_ready(self, document_id: UUID, version: int, chunk_count: int) -> Document | None:
        """`ready`: also for a document that was given up on and whose messages were sent again since.

        A version that was completed although a later one has come, or although it was cancelled, is served, as its passages
        are found: its status stays.
        """
        ready = await self._change(
            and_(
                _current(document_id, version),
                documents.c.status.in_((*UNFINISHED, DocumentStatus.FAILED)),
                documents.c.chunk_count.is_not(None),
            ),
            status=DocumentStatus.READY,
            served_version=version,
            chunks_done=func.greatest(documents.c.chunks_done, chunk_count),
            # What was said about unreadable pages stays true; why it had failed does not.
            code=case((documents.c.status == DocumentStatus.FAILED, None), else_=documents.c.code),
            reason=case((documents.c.status == DocumentStatus.FAILED, None), else_=documents.c.reason),
        )
        if ready is not None:
            await self._drop_batches([document_id])
            return ready
        kept = select(versions.c.version).where(versions.c.document_id == document_id, versions.c.version == version)
        await self._session.execute(
            update(documents)
            .where(
                documents.c.document_id == document_id,
                _ALIVE,
                or_(
                    documents.c.version > version,
                    and_(documents.c.version == version, documents.c.status == DocumentStatus.CANCELLED),
                ),
                func.coalesce(documents.c.served_version, 0) < version,
                kept.exists(),
            )
            .values(served_version=version)
        )
        return None

    async def _drop_batches(self, document_ids: Sequence[UUID]) -> None:
        await self._session.execute(delete(batches).where(batches.c.document_id.in_(document_ids)))
        await self.wake_dispatcher()

    async def mark_failed(
        self, document_id: UUID, version: int, code: str, reason: str, *, attempt: int | None = None
    ) -> Document | None:
        """`failed`, unless the document has come to another end, or to another attempt, already. Batches wait for the next."""
        failed = await self._change(
            and_(_current(document_id, version, attempt), documents.c.status.in_(UNFINISHED)),
            status=DocumentStatus.FAILED,
            code=code,
            # What a library said may hold what PostgreSQL cannot store; a document must not stay unfinished for that.
            reason=freeze(reason),
            password=None,
        )
        if failed is not None:
            await self._session.execute(update(batches).where(batches.c.document_id == document_id).values(held=True))
            await self.wake_dispatcher()
        return failed

    # --- what people do with them

    async def lock_some(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> dict[UUID, Document]:
        """Those of the documents that exist, locked in one order, so that two who change many do not wait for each other."""
        statement = (
            select(*_SHOWN)
            .where(
                documents.c.document_id.in_(document_ids),
                documents.c.workspace_id == workspace_id,
                _ALIVE,
            )
            .order_by(documents.c.document_id)
            .with_for_update()
        )
        rows = (await self._session.execute(statement)).mappings()
        return {row["document_id"]: Document.model_validate(dict(row)) for row in rows}

    async def cancel(self, document_ids: Sequence[UUID]) -> list[Document]:
        """Stops documents that are locked and unfinished: `cancelled`, with nothing more to hand out."""
        if not document_ids:
            return []
        cancelled = await self._change_all(
            and_(documents.c.document_id.in_(document_ids), documents.c.status.in_(UNFINISHED)),
            status=DocumentStatus.CANCELLED,
            code=None,
            reason=None,
            password=None,
        )
        await self._drop_batches([document.document_id for document in cancelled])
        return cancelled

    async def retry(self, document_ids: Sequence[UUID], *, password: str | None, cause: Cause) -> list[Document]:
        """Begins another attempt at documents that are locked and failed or cancelled: `embedding` where pages and the rest of
        the batches are stored, else `queued`."""
        if not document_ids:
            return []
        left = select(batches.c.batch).where(
            batches.c.document_id == documents.c.document_id, batches.c.version == documents.c.version
        )
        again = and_(documents.c.status == DocumentStatus.FAILED, documents.c.chunk_count.is_not(None), left.exists())
        retried = await self._change_all(
            and_(documents.c.document_id.in_(document_ids), documents.c.status.in_(RETRIABLE)),
            status=case((again, DocumentStatus.EMBEDDING), else_=DocumentStatus.QUEUED)
            if password is None
            else DocumentStatus.QUEUED,
            attempt=documents.c.attempt + 1,
            code=None,
            reason=None,
            password=password,
            queued_at=func.now(),
            released_at=None,
            progressed_at=func.now(),
            cause=_cause(cause),
        )
        going_on = [document.document_id for document in retried if document.status == DocumentStatus.EMBEDDING]
        anew = [document.document_id for document in retried if document.status == DocumentStatus.QUEUED]
        await self._session.execute(
            update(batches).where(batches.c.document_id.in_(going_on)).values(held=False, released_at=None, queued_at=func.now())
        )
        await self._session.execute(delete(batches).where(batches.c.document_id.in_(anew)))
        await self.wake_dispatcher()
        return retried

    async def delete(self, document_ids: Sequence[UUID]) -> list[Deletion]:
        """Leaves tombstones of documents that are locked, and removes all that belongs to them."""
        if not document_ids:
            return []
        keys = await self._object_keys(document_ids)
        count = select(func.count()).where(pages.c.document_id == documents.c.document_id).select_from(pages).scalar_subquery()
        deleted = await self._change_all(
            and_(documents.c.document_id.in_(document_ids), _ALIVE),
            deleted_at=func.now(),
            erased_pages=count,
            password=None,
            cause={},
        )
        for table in (pages, units, batches, renderings, versions):
            await self._session.execute(delete(table).where(table.c.document_id.in_(document_ids)))
        await self.wake_dispatcher()
        return [Deletion(document, keys.get(document.document_id, [])) for document in deleted]

    async def _object_keys(self, document_ids: Sequence[UUID], only: Sequence[int] | None = None) -> dict[UUID, list[str]]:
        """The keys of all versions, or only of those, by document: files, copies without protection, pictures. Of each document
        the first thousand, in this order."""
        parts = []
        for rank, (table, column) in enumerate(
            (
                (versions, versions.c.object_key),
                (versions, versions.c.unlocked_key),
                (renderings, renderings.c.object_key),
            )
        ):
            which = [table.c.document_id.in_(document_ids), column.is_not(None)]
            if only is not None:
                which.append(table.c.version.in_(only))
            parts.append(select(table.c.document_id, column.label("object_key"), literal(rank).label("rank")).where(*which))
        found: dict[UUID, list[str]] = {}
        for document_id, key, _ in await self._session.execute(union(*parts).order_by("rank")):
            keys = found.setdefault(document_id, [])
            if len(keys) < MAX_NAMED_OBJECTS:
                keys.append(key)
        return found

    async def note_erased(self, document_id: UUID) -> int | None:
        """The objects of a deleted document are gone: how many pages went with it. None when that was said before."""
        statement = (
            update(documents)
            .where(documents.c.document_id == document_id, documents.c.deleted_at.is_not(None), documents.c.erased_at.is_(None))
            .values(erased_at=func.now())
            .returning(func.coalesce(documents.c.erased_pages, 0))
        )
        erased: int | None = await self._session.scalar(statement)
        return erased

    async def rename(self, workspace_id: UUID, document_id: UUID, filename: str) -> Document | None:
        """The document under its new name. None when there is no such document."""
        return await self._change(
            and_(
                documents.c.document_id == document_id,
                documents.c.workspace_id == workspace_id,
                _ALIVE,
            ),
            filename=filename,
        )

    # --- being looked at

    async def get(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """A document that is not deleted."""
        return await self._one(
            select(*_SHOWN).where(
                documents.c.document_id == document_id,
                documents.c.workspace_id == workspace_id,
                _ALIVE,
            )
        )

    async def find(
        self,
        workspace_id: UUID,
        *,
        status: DocumentStatus | None = None,
        q: str | None = None,
        content_type: str | None = None,
        source_id: UUID | None = None,
        page: int = 1,
        per_page: int = 20,
    ) -> tuple[list[Document], int]:
        """A page of documents, newest first, and how many there are in all."""
        which = _matching(workspace_id, q=q, source_id=source_id, statuses=None if status is None else (status,))
        if content_type is not None:
            which.append(documents.c.content_type == content_type)
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

    async def choose(
        self, workspace_id: UUID, *, q: str | None, source_id: UUID | None, statuses: Sequence[DocumentStatus] | None, limit: int
    ) -> tuple[list[UUID], int]:
        """The ids of up to `limit` documents, oldest first, and how many match in all."""
        which = _matching(workspace_id, q=q, source_id=source_id, statuses=statuses)
        ids = await self._session.scalars(
            select(documents.c.document_id).where(*which).order_by(documents.c.created_at, documents.c.document_id).limit(limit)
        )
        total = await self._session.scalar(select(func.count()).select_from(documents).where(*which))
        return list(ids), total or 0

    async def known(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that were registered here, deleted ones included."""
        if not document_ids:
            return []
        statement = select(documents.c.document_id).where(
            documents.c.workspace_id == workspace_id, documents.c.document_id.in_(document_ids)
        )
        return list((await self._session.scalars(statement)).all())

    async def known_objects(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys under which something of a document lies that is not deleted."""
        if not keys:
            return []
        found = union(
            select(versions.c.object_key).where(versions.c.object_key.in_(keys)),
            select(versions.c.unlocked_key).where(versions.c.unlocked_key.in_(keys)),
            select(renderings.c.object_key).where(renderings.c.object_key.in_(keys)),
        )
        return list((await self._session.scalars(found)).all())

    async def versions(self, document_id: UUID) -> list[DocumentVersion]:
        """The versions that are kept, newest first."""
        shown = [versions.c[name] for name in DocumentVersion.model_fields]
        rows = await self._session.execute(
            select(*shown).where(versions.c.document_id == document_id).order_by(versions.c.version.desc())
        )
        return [DocumentVersion.model_validate(dict(row)) for row in rows.mappings()]

    async def pages(self, workspace_id: UUID, refs: Sequence[PageRef]) -> list[Page]:
        """The pages, or parts of pages, that exist, in the order asked. Offsets count code points."""
        rows = await self._session.execute(
            _PAGES,
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


def index_work(
    document: Document, batch_count: int, batch: int, chunks: list[Chunk], *, express: bool
) -> IndexChunks | IndexChunksExpress:
    """A batch of a document whose chunks are cut, as work for embed."""
    return (IndexChunksExpress if express else IndexChunks)(
        workspace_id=document.workspace_id,
        document_id=document.document_id,
        version=document.version,
        attempt=document.attempt,
        language=document.metadata.language,
        title=document.metadata.title,
        source_id=document.source_id,
        filename=document.filename,
        content_type=document.content_type,
        document_created_at=document.created_at,
        batch=batch,
        batch_count=batch_count,
        chunk_count=document.chunk_count or 0,
        chunks=chunks,
    )


def _room(
    table: Table, waiting: ColumnElement[bool], released: ColumnElement[bool], workspace_id: UUID
) -> Select[tuple[bool, int, int]]:
    mine = func.count().filter(table.c.workspace_id == workspace_id)
    in_flight = select(func.count().label("total"), mine.label("mine")).select_from(table).where(released).subquery()
    return select(
        select(literal(1)).select_from(table).where(waiting).exists().label("waiting"), in_flight.c.total, in_flight.c.mine
    )


def _matching(
    workspace_id: UUID, *, q: str | None, source_id: UUID | None, statuses: Sequence[DocumentStatus] | None
) -> list[ColumnElement[bool]]:
    which = [documents.c.workspace_id == workspace_id, documents.c.deleted_at.is_(None)]
    if statuses is not None:
        which.append(documents.c.status.in_(statuses))
    if q:
        which.append(documents.c.filename.icontains(q, autoescape=True))
    if source_id is not None:
        which.append(documents.c.source_id == source_id)
    return which


# While no version is ready, the pages of the one in the making can be read as soon as they are stored.
_PAGES = text(
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

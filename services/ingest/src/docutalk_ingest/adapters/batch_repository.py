"""Every query about the batches of a document's chunks: stored, handed out, and forgotten when embed has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from docutalk_common.contracts.ingest import Chunk, Document, DocumentStatus, IndexChunks, IndexChunksExpress
from pydantic import TypeAdapter
from sqlalchemy import Text, and_, cast, delete, func, or_, select, update

from docutalk_ingest.adapters.document_rows import SHOWN, DocumentRows, WaitingWork, cause_of, current, room_in_line
from docutalk_ingest.adapters.tables import batches, documents
from docutalk_ingest.domain import Batch, Window

PROGRESS_INTERVAL = timedelta(seconds=1)
CHUNKS = TypeAdapter(list[Chunk])


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


class BatchRepository(DocumentRows):
    """Batches of chunks, within the transaction of `session`."""

    async def room_for_batches(self, workspace_id: UUID, window: Window) -> tuple[int, bool]:
        """How many batches of this workspace can go at once, nobody waiting for the room; and whether it has none in flight."""
        waiting = and_(batches.c.released_at.is_(None), ~batches.c.held)
        released = and_(batches.c.released_at.is_not(None), ~batches.c.held)
        row = (await self._session.execute(room_in_line(batches, waiting, released, workspace_id))).one()
        if row.waiting or not window.has_room(row.total, row.mine):
            return 0, False
        return max(1, window.size - row.total), row.mine == 0

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
                current(document_id, version),
                documents.c.status == DocumentStatus.EMBEDDING,
            )
            .values(released_at=func.now())
            .returning(
                *SHOWN,
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
        return WaitingWork(work, *cause_of(row.cause))

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
                .where(current(document_id, version))
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
            current(document_id, version),
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
        await self._wake_dispatcher()
        return row.chunk_count, row.released_at


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

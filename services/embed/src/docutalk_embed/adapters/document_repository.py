"""Every query that changes documents and their chunks. A version is live, and found, once every chunk of it is stored.

Locks are taken in one order everywhere: the inbox row, the lock that keeps a workspace from being erased meanwhile, the
document's row, the lock of the models (`model_changes`), the workspace's row, then rows of chunks, words and places. Vectors go
with their chunks, of however many models they are.
"""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy.typing as npt
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Transaction
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.erasure_repository import may_store
from docutalk_embed.adapters.place_repository import count_places
from docutalk_embed.domain import clean_text
from docutalk_embed.domain.languages import configuration_of


@dataclass(frozen=True)
class DocumentState:
    """What is known of a document, its row locked."""

    version: int
    """The latest that came; 0 when no batch came yet."""
    attempt: int
    live_version: int | None
    live_chunk_count: int
    deleted: bool
    chunk_count: int | None
    batch_count: int | None
    """How the version is cut, as its batches say; 0 when nothing is stored, None when it was stored before this was kept."""
    chunks_done: int
    batches_done: int
    cancelled_version: int
    cancelled_attempt: int
    """Work up to this attempt of this version was stopped; 0 and 0 when none was."""

    @property
    def is_live(self) -> bool:
        """Whether searches find the latest version."""
        return self.live_version == self.version

    def refuses(self, work: IndexChunks) -> bool:
        """Whether nobody will look for what this batch holds."""
        is_cancelled = (work.version, work.attempt) <= (self.cancelled_version, self.cancelled_attempt)
        if self.deleted or is_cancelled or work.version < self.version:
            return True
        return work.version == self.version and work.attempt < self.attempt and self._cuts_otherwise(work)

    def is_replaced_by(self, work: IndexChunks) -> bool:
        """Whether this batch begins anew: with a later version, or with an attempt that read the file again and cut it
        otherwise. An attempt that only goes on finds what the one before it stored."""
        return work.version > self.version or self._cuts_otherwise(work)

    def _cuts_otherwise(self, work: IndexChunks) -> bool:
        return self.batch_count is not None and (work.batch_count, work.chunk_count) != (self.batch_count, self.chunk_count)


_STATE = (
    "SELECT version, attempt, live_version, live_chunk_count, deleted, chunk_count, batch_count, chunks_done, batches_done,"
    " cancelled_version, cancelled_attempt FROM documents WHERE document_id = :document_id"
)


async def find_state(session: AsyncSession, document_id: UUID) -> DocumentState | None:
    """What is known of a document just now; None before anything of it came."""
    row = (await session.execute(text(_STATE), {"document_id": document_id})).first()
    return None if row is None else DocumentState(*row)


async def has_batch(session: AsyncSession, work: IndexChunks) -> bool:
    """Whether a batch of this number is stored of this version."""
    found = await session.scalar(
        text("SELECT true FROM index_batches WHERE document_id = :document_id AND version = :version AND batch = :batch"),
        {"document_id": work.document_id, "version": work.version, "batch": work.batch},
    )
    return bool(found)


class DocumentRepository:
    """Changes to documents and their chunks, inside of a transaction that the caller owns."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._session = transaction.session

    async def lock(self, document_id: UUID, workspace_id: UUID) -> DocumentState | None:
        """Makes the row if there is none, and locks it: of two batches of a document the second waits for the first. None when
        the workspace was erased: nothing of it may be stored."""
        if not await may_store(self._session, workspace_id):
            return None
        keys = {"document_id": document_id, "workspace_id": workspace_id}
        await self._session.execute(
            text(
                "INSERT INTO documents (document_id, workspace_id, version) VALUES (:document_id, :workspace_id, 0)"
                " ON CONFLICT DO NOTHING"
            ),
            keys,
        )
        await self._session.execute(text("SELECT FROM documents WHERE document_id = :document_id FOR UPDATE"), keys)
        state = await find_state(self._session, document_id)
        assert state is not None, "the row was made above and is locked"
        return state

    async def begin(self, work: IndexChunks, state: DocumentState) -> DocumentState:
        """A later version, or another cut of this one, has come: what was stored and is not live goes away, counting starts
        again. Of this version even what is live: its passages speak of a text that was read again since."""
        live_version = state.live_version
        if live_version == work.version:
            await self.withdraw(work.document_id, work.workspace_id, state)
            live_version = None
        await self._remove_but(work.document_id, live_version)
        await self._session.execute(
            text(
                "UPDATE documents SET version = :version, attempt = :attempt, live_version = :live_version,"
                " live_chunk_count = CASE WHEN CAST(:live_version AS integer) IS NULL THEN 0 ELSE live_chunk_count END,"
                " chunk_count = :chunk_count, batch_count = :batch_count, chunks_done = 0, batches_done = 0"
                " WHERE document_id = :document_id"
            ),
            {
                "live_version": live_version,
                **work.model_dump(include={"document_id", "version", "attempt", "chunk_count", "batch_count"}),
            },
        )
        begun = await find_state(self._session, work.document_id)
        assert begun is not None, "the row is locked"
        return begun

    async def go_on(self, document_id: UUID, attempt: int) -> None:
        """A later attempt continues where the one before it stopped."""
        await self._session.execute(
            text("UPDATE documents SET attempt = :attempt WHERE document_id = :document_id"),
            {"document_id": document_id, "attempt": attempt},
        )

    async def rename(self, document_id: UUID, filename: str, named_at: datetime) -> None:
        """The name that passages carry, unless a later message has named the document already."""
        await self._session.execute(
            text(
                "UPDATE documents SET filename = :filename, named_at = :named_at WHERE document_id = :document_id"
                " AND NOT deleted AND (named_at IS NULL OR named_at <= :named_at)"
            ),
            {"document_id": document_id, "filename": filename, "named_at": named_at},
        )

    async def cancel(self, document_id: UUID, version: int, attempt: int) -> None:
        """Notes that this attempt, and all before it, are not wanted."""
        await self._session.execute(
            text(
                "UPDATE documents SET cancelled_version = :version, cancelled_attempt = :attempt"
                " WHERE document_id = :document_id AND (cancelled_version, cancelled_attempt) < (:version, :attempt)"
            ),
            {"document_id": document_id, "version": version, "attempt": attempt},
        )

    async def discard(self, document_id: UUID, live_version: int | None) -> None:
        """Removes what is stored of versions that are not live; whatever comes next begins anew."""
        await self._remove_but(document_id, live_version)
        await self._session.execute(
            text(
                "UPDATE documents SET chunk_count = 0, batch_count = 0, chunks_done = 0, batches_done = 0"
                " WHERE document_id = :document_id"
            ),
            {"document_id": document_id},
        )

    async def _remove_but(self, document_id: UUID, live_version: int | None) -> None:
        for table in ("chunks", "index_batches"):
            await self._session.execute(
                text(f"DELETE FROM {table} WHERE document_id = :document_id AND version IS DISTINCT FROM :live_version"),
                {"document_id": document_id, "live_version": live_version},
            )

    async def add_batch(self, work: IndexChunks, vectors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Stores a batch, which is not stored yet, by binary COPY. `vectors` is [chunks, dimension] by table."""
        await self._session.execute(
            text("INSERT INTO index_batches (document_id, version, batch) VALUES (:document_id, :version, :batch)"),
            {"document_id": work.document_id, "version": work.version, "batch": work.batch},
        )
        place = (work.workspace_id, work.document_id, work.version)
        connection = await self._transaction.connection()
        await connection.copy_records_to_table(
            "chunks",
            columns=[
                "chunk_id", "workspace_id", "document_id", "version",
                "ordinal", "page", "start_offset", "end_offset", "text", "gap", "config",
            ],
            records=[
                (
                    c.chunk_id, *place, c.ordinal, c.page, c.start, c.end, c.text,
                    c.gap and clean_text(c.gap), configuration_of(work.language, c.text),
                )
                for c in work.chunks
            ],
        )  # fmt: skip
        for table, rows in vectors.items():
            await connection.copy_records_to_table(
                table,
                columns=["chunk_id", "workspace_id", "document_id", "version", "embedding"],
                records=[(chunk.chunk_id, *place, HalfVector(row)) for chunk, row in zip(work.chunks, rows, strict=True)],
            )
        await self._session.execute(
            text(
                "UPDATE documents SET chunks_done = chunks_done + :chunks, batches_done = batches_done + 1,"
                " content_type = :content_type, document_created_at = :created_at, source_id = :source_id,"
                " language = :language, title = :title WHERE document_id = :document_id"
            ),
            {
                "document_id": work.document_id,
                "chunks": len(work.chunks),
                "content_type": work.content_type,
                "created_at": work.document_created_at,
                "source_id": work.source_id,
                "language": work.language,
                "title": work.title and clean_text(work.title),
            },
        )

    async def make_live(self, document_id: UUID, workspace_id: UUID, version: int, chunk_count: int) -> None:
        """From the commit on searches find this version and no other."""
        await self._count(document_id, workspace_id, version, sign=1, chunk_count=chunk_count)
        await self._session.execute(
            text(
                "UPDATE documents SET live_version = :version, live_chunk_count = :chunk_count WHERE document_id = :document_id"
            ),
            {"document_id": document_id, "version": version, "chunk_count": chunk_count},
        )

    async def withdraw(self, document_id: UUID, workspace_id: UUID, state: DocumentState) -> None:
        """Takes the live version, if there is one, out of searches and removes its chunks. Whoever calls this says what is
        live from now on."""
        if state.live_version is None:
            return
        keys = {"document_id": document_id, "version": state.live_version}
        await self._count(document_id, workspace_id, state.live_version, sign=-1, chunk_count=state.live_chunk_count)
        for table in ("chunks", "index_batches"):
            await self._session.execute(
                text(f"DELETE FROM {table} WHERE document_id = :document_id AND version = :version"), keys
            )

    async def count_chunks(self, document_id: UUID) -> int:
        """How many chunks are stored of it, over all versions."""
        found = await self._session.scalar(
            text("SELECT count(*) FROM chunks WHERE document_id = :document_id"), {"document_id": document_id}
        )
        return int(found or 0)

    async def bury(self, document_id: UUID, version: int) -> None:
        """Removes all chunks, and what the document was called; the row stays, as the mark that keeps late batches out."""
        keys = {"document_id": document_id, "version": version}
        for table in ("chunks", "index_batches"):
            await self._session.execute(text(f"DELETE FROM {table} WHERE document_id = :document_id"), keys)
        await self._session.execute(
            text(
                "UPDATE documents SET deleted = true, version = greatest(version, :version), live_version = NULL,"
                " live_chunk_count = 0, chunk_count = 0, batch_count = 0, chunks_done = 0, batches_done = 0,"
                " filename = NULL, title = NULL, language = NULL, source_id = NULL WHERE document_id = :document_id"
            ),
            keys,
        )

    async def _count(self, document_id: UUID, workspace_id: UUID, version: int, *, sign: int, chunk_count: int) -> None:
        """Adds a version's chunks, words and places to the workspace's counts, or takes them away.

        The workspace's row comes first: it makes the documents of a workspace wait for each other, so that the thousands
        of rows of words are never locked in two orders.
        """
        keys = {"document_id": document_id, "workspace_id": workspace_id, "version": version, "sign": sign}
        await self._session.execute(
            text(
                "INSERT INTO workspaces AS w VALUES (:workspace_id, :chunk_count)"
                " ON CONFLICT (workspace_id) DO UPDATE SET chunk_count = w.chunk_count + excluded.chunk_count"
            ),
            {"workspace_id": workspace_id, "chunk_count": sign * chunk_count},
        )
        await self._session.execute(
            text(
                "INSERT INTO configurations AS f SELECT CAST(:workspace_id AS uuid), c.config, CAST(:sign AS integer) * count(*)"
                " FROM chunks c WHERE c.document_id = :document_id AND c.version = :version GROUP BY c.config"
                " ON CONFLICT (workspace_id, config) DO UPDATE SET chunk_count = f.chunk_count + excluded.chunk_count"
            ),
            keys,
        )
        await self._session.execute(
            text(
                "INSERT INTO lexemes AS l SELECT CAST(:workspace_id AS uuid), word.lexeme, CAST(:sign AS integer) * count(*)"
                " FROM chunks c, unnest(c.words) AS word"
                " WHERE c.document_id = :document_id AND c.version = :version GROUP BY word.lexeme"
                " ON CONFLICT (workspace_id, lexeme) DO UPDATE SET chunk_count = l.chunk_count + excluded.chunk_count"
            ),
            keys,
        )
        await count_places(self._session, document_id, workspace_id, version, sign=sign)
        if sign < 0:
            for table in ("lexemes", "configurations"):
                await self._session.execute(
                    text(f"DELETE FROM {table} WHERE workspace_id = :workspace_id AND chunk_count <= 0"), keys
                )

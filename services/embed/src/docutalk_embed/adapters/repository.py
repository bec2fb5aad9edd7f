"""Every query of embed. A search finds live versions only: those of which every chunk is stored."""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy.typing as npt
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Transaction
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.domain import HIGHLIGHT_START, HIGHLIGHT_STOP, LIST_SIZE, KeywordQuery, Lexeme

# Inlined, not a parameter: a partial index is only used when the plan can see the model.
MODEL_ID = 1
# As subqueries, because a bare cast of a parameter is parsed again for every row: 29 ms instead of 2 for 1,400 rows.
_VECTOR = "(SELECT CAST(CAST(:vector AS text) AS halfvec(384)))"
_WEIGHTS = "(SELECT CAST(CAST(:weights AS text) AS sparsevec))"
_CANDIDATES = "(SELECT CAST(CAST(:candidates AS text) AS tsquery))"
_HIGHLIGHTED = "(SELECT CAST(CAST(:highlighted AS text) AS tsquery))"
_DISTANCE = f"e.embedding::halfvec(384) <#> {_VECTOR}"

# Iterative: the scan goes on until enough rows have passed the filters. With sorting forbidden the index, which returns
# rows in order of distance, is the plan.
_USE_INDEX = (
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '200', true),"
    " set_config('hnsw.max_scan_tuples', '200000', true), set_config('enable_sort', 'off', true)"
)

_HEADLINE = f"HighlightAll=true, StartSel={HIGHLIGHT_START}, StopSel={HIGHLIGHT_STOP}"


@dataclass(frozen=True)
class DocumentState:
    """What is known of a document, its row locked."""

    version: int
    live_version: int | None
    live_chunk_count: int
    deleted: bool
    chunks_done: int
    batches_done: int


@dataclass(frozen=True)
class StoredPassage:
    """A chunk as a search shows it; `marked` is its text with the query's words marked."""

    chunk_id: UUID
    document_id: UUID
    version: int
    filename: str
    page: int
    start: int
    end: int
    text: str
    marked: str | None


async def is_stale(session: AsyncSession, document_id: UUID, version: int) -> bool:
    """Whether the document was deleted or a later version of it has come: nobody will look for this version any more."""
    found = await session.scalar(
        text("SELECT deleted OR version > :version FROM documents WHERE document_id = :document_id"),
        {"document_id": document_id, "version": version},
    )
    return bool(found)


class DocumentRepository:
    """Changes to documents and their chunks, inside of a transaction that the caller owns."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._session = transaction.session

    async def lock(self, document_id: UUID, workspace_id: UUID, version: int) -> DocumentState:
        """Makes the row if there is none, and locks it: of two batches of a document the second waits for the first."""
        keys = {"document_id": document_id, "workspace_id": workspace_id, "version": version}
        await self._session.execute(
            text(
                "INSERT INTO documents (document_id, workspace_id, version) VALUES (:document_id, :workspace_id, :version)"
                " ON CONFLICT DO NOTHING"
            ),
            keys,
        )
        found = await self._session.execute(
            text(
                "SELECT version, live_version, live_chunk_count, deleted, chunks_done, batches_done"
                " FROM documents WHERE document_id = :document_id FOR UPDATE"
            ),
            {"document_id": document_id},
        )
        return DocumentState(*found.one())

    async def begin_version(self, document_id: UUID, version: int, live_version: int | None) -> None:
        """A later version has come: what was stored of versions that never became live goes away, counting starts again."""
        keys = {"document_id": document_id, "version": version, "live_version": live_version}
        for table in ("embeddings", "chunks", "index_batches"):
            await self._session.execute(
                text(f"DELETE FROM {table} WHERE document_id = :document_id AND version IS DISTINCT FROM :live_version"), keys
            )
        await self._session.execute(
            text("UPDATE documents SET version = :version, chunks_done = 0, batches_done = 0 WHERE document_id = :document_id"),
            keys,
        )

    async def add_batch(self, work: IndexChunks, vectors: npt.NDArray[Any]) -> bool:
        """Stores a batch by binary COPY; False when it is stored already. `vectors` is [chunks, dimension]."""
        added = await self._session.execute(
            text(
                "INSERT INTO index_batches (document_id, version, batch) VALUES (:document_id, :version, :batch)"
                " ON CONFLICT DO NOTHING RETURNING batch"
            ),
            {"document_id": work.document_id, "version": work.version, "batch": work.batch},
        )
        if added.first() is None:
            return False
        place = (work.workspace_id, work.document_id, work.version)
        connection = await self._transaction.connection()
        await connection.copy_records_to_table(
            "chunks",
            columns=[
                "chunk_id", "workspace_id", "document_id", "version",
                "ordinal", "page", "start_offset", "end_offset", "text",
            ],
            records=[(c.chunk_id, *place, c.ordinal, c.page, c.start, c.end, c.text) for c in work.chunks],
        )  # fmt: skip
        await connection.copy_records_to_table(
            "embeddings",
            columns=["model_id", "chunk_id", "workspace_id", "document_id", "version", "embedding"],
            records=[
                (MODEL_ID, chunk.chunk_id, *place, HalfVector(vector)) for chunk, vector in zip(work.chunks, vectors, strict=True)
            ],
        )
        await self._session.execute(
            text(
                "UPDATE documents SET chunks_done = chunks_done + :chunks, batches_done = batches_done + 1,"
                " filename = :filename, content_type = :content_type, document_created_at = :created_at"
                " WHERE document_id = :document_id"
            ),
            {
                "document_id": work.document_id,
                "chunks": len(work.chunks),
                "filename": work.filename,
                "content_type": work.content_type,
                "created_at": work.document_created_at,
            },
        )
        return True

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
        """Takes the live version, if there is one, out of searches and removes its chunks."""
        if state.live_version is None:
            return
        keys = {"document_id": document_id, "version": state.live_version}
        await self._count(document_id, workspace_id, state.live_version, sign=-1, chunk_count=state.live_chunk_count)
        for table in ("embeddings", "chunks", "index_batches"):
            await self._session.execute(
                text(f"DELETE FROM {table} WHERE document_id = :document_id AND version = :version"), keys
            )

    async def bury(self, document_id: UUID, version: int) -> None:
        """Removes all chunks; the row stays, as the mark that keeps late batches out."""
        keys = {"document_id": document_id, "version": version}
        for table in ("embeddings", "chunks", "index_batches"):
            await self._session.execute(text(f"DELETE FROM {table} WHERE document_id = :document_id"), keys)
        await self._session.execute(
            text(
                "UPDATE documents SET deleted = true, version = greatest(version, :version), live_version = NULL,"
                " live_chunk_count = 0, chunks_done = 0, batches_done = 0, filename = NULL WHERE document_id = :document_id"
            ),
            keys,
        )

    async def _count(self, document_id: UUID, workspace_id: UUID, version: int, *, sign: int, chunk_count: int) -> None:
        """Adds a version's chunks and words to the workspace's counts, or takes them away.

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
                "INSERT INTO lexemes AS l SELECT CAST(:workspace_id AS uuid), word.lexeme, CAST(:sign AS integer) * count(*)"
                " FROM chunks c, unnest(c.words) AS word"
                " WHERE c.document_id = :document_id AND c.version = :version GROUP BY word.lexeme"
                " ON CONFLICT (workspace_id, lexeme) DO UPDATE SET chunk_count = l.chunk_count + excluded.chunk_count"
            ),
            keys,
        )
        if sign < 0:
            await self._session.execute(text("DELETE FROM lexemes WHERE workspace_id = :workspace_id AND chunk_count <= 0"), keys)


class PassageRepository:
    """Searches one workspace, inside of a read-only transaction that the caller owns."""

    def __init__(self, session: AsyncSession, workspace_id: UUID, filters: SearchFilters) -> None:
        self._session = session
        self._parameters: dict[str, Any] = {"workspace_id": workspace_id}
        self._documents = "d.workspace_id = :workspace_id AND d.live_version IS NOT NULL"
        if filters.document_ids:
            self._documents += " AND d.document_id = ANY(CAST(:document_ids AS uuid[]))"
            self._parameters["document_ids"] = list(filters.document_ids)
        if filters.content_types:
            self._documents += " AND d.content_type = ANY(CAST(:content_types AS text[]))"
            self._parameters["content_types"] = list(filters.content_types)
        self._narrowed = bool(filters.document_ids or filters.content_types)

    async def count(self) -> tuple[int, int]:
        """Chunks in the whole workspace, and those that the filters leave."""
        found = await self._session.execute(
            text("SELECT chunk_count FROM workspaces WHERE workspace_id = :workspace_id"), self._parameters
        )
        total = int(found.scalar() or 0)
        if not self._narrowed or not total:
            return total, total
        left = await self._session.execute(
            text(f"SELECT coalesce(sum(d.live_chunk_count), 0) FROM documents d WHERE {self._documents}"), self._parameters
        )
        return total, int(left.scalar_one())

    async def lexemes(self, query: str) -> list[Lexeme]:
        """The words of a query as the index has them, with how many chunks of the workspace hold them."""
        found = await self._session.execute(
            text(
                "SELECT q.lexeme, lexeme_dimension(q.lexeme), coalesce(l.chunk_count, 0)"
                " FROM unnest(to_tsvector('english', :query)) AS q"
                " LEFT JOIN lexemes l ON l.workspace_id = :workspace_id AND l.lexeme = q.lexeme"
            ),
            self._parameters | {"query": query},
        )
        return [Lexeme(*row) for row in found]

    async def nearest(self, vector: str, *, exact: bool, limit: int = LIST_SIZE) -> dict[UUID, float]:
        """Cosine by chunk, best first. `exact` compares with every vector that the filters leave, else by the HNSW index."""
        if exact:
            # Sorting by anything but the bare distance keeps the planner away from the index.
            statement = (
                f"SELECT e.chunk_id, -({_DISTANCE}) AS score FROM documents d"
                " JOIN embeddings e ON e.document_id = d.document_id AND e.version = d.live_version"
                f" WHERE {self._documents} AND e.workspace_id = :workspace_id AND e.model_id = {MODEL_ID}"
                " ORDER BY score DESC, e.chunk_id LIMIT :limit"
            )
        else:
            await self._session.execute(text(_USE_INDEX))
            statement = (
                f"SELECT e.chunk_id, -({_DISTANCE}) AS score FROM embeddings e"
                " JOIN documents d ON d.document_id = e.document_id AND d.live_version = e.version"
                f" WHERE {self._documents} AND e.workspace_id = :workspace_id AND e.model_id = {MODEL_ID}"
                f" ORDER BY {_DISTANCE} LIMIT :limit"
            )
        found = await self._session.execute(text(statement), self._parameters | {"vector": vector, "limit": limit})
        scores = {chunk_id: float(score) for chunk_id, score in found}
        if not exact:
            await self._session.execute(text("SET LOCAL enable_sort = on"))
        return scores

    async def matching(self, query: KeywordQuery, *, limit: int = LIST_SIZE) -> dict[UUID, float]:
        """BM25 score by chunk, best first."""
        # Scores are never negative, so a chunk without any of the words has a product of exactly 0.
        chosen = f"c.words @@ {_CANDIDATES}" if query.candidates else f"c.weights <#> {_WEIGHTS} < 0"
        found = await self._session.execute(
            text(
                f"SELECT c.chunk_id, -(c.weights <#> {_WEIGHTS}) AS score FROM chunks c"
                " JOIN documents d ON d.document_id = c.document_id AND d.live_version = c.version"
                f" WHERE {self._documents} AND c.workspace_id = :workspace_id"
                f" AND {chosen} ORDER BY score DESC, c.chunk_id LIMIT :limit"
            ),
            self._parameters | {"weights": query.weights, "candidates": query.candidates, "limit": limit},
        )
        return {chunk_id: float(score) for chunk_id, score in found}

    async def passages(self, chunk_ids: Sequence[UUID], highlighted: str | None) -> dict[UUID, StoredPassage]:
        """The passages of these chunks; `highlighted` is the tsquery whose words are marked."""
        marked = f"ts_headline('english', translate(c.text, :marks, ''), {_HIGHLIGHTED}, :options)" if highlighted else "NULL"
        found = await self._session.execute(
            text(
                "SELECT c.chunk_id, c.document_id, c.version, d.filename, c.page, c.start_offset, c.end_offset, c.text,"
                f" {marked} FROM chunks c JOIN documents d ON d.document_id = c.document_id"
                " WHERE c.chunk_id = ANY(CAST(:chunk_ids AS uuid[])) AND c.workspace_id = :workspace_id"
            ),
            self._parameters
            | {
                "chunk_ids": list(chunk_ids),
                "highlighted": highlighted,
                "options": _HEADLINE,
                "marks": HIGHLIGHT_START + HIGHLIGHT_STOP,
            },
        )
        return {row[0]: StoredPassage(*row) for row in found}

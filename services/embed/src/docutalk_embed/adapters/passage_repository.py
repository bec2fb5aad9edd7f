"""Every query of a search. It finds live versions only: those of which every chunk is stored."""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.domain import HIGHLIGHT_START, HIGHLIGHT_STOP, LIST_SIZE, KeywordQuery, Lexeme

# As subqueries, because a bare cast of a parameter is parsed again for every row: 29 ms instead of 2 for 1,400 rows.
_VECTOR = "(SELECT CAST(CAST(:vector AS text) AS halfvec))"
_WEIGHTS = "(SELECT CAST(CAST(:weights AS text) AS sparsevec))"
_CANDIDATES = "(SELECT CAST(CAST(:candidates AS text) AS tsquery))"
_HIGHLIGHTED = "(SELECT CAST(CAST(:highlighted AS text) AS tsquery))"
_DISTANCE = f"e.embedding <#> {_VECTOR}"

# Iterative: the scan goes on until enough rows have passed the filters. With sorting forbidden the index, which returns
# rows in order of distance, is the plan.
_USE_INDEX = (
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '200', true),"
    " set_config('hnsw.max_scan_tuples', '200000', true), set_config('enable_sort', 'off', true)"
)

_HEADLINE = f"HighlightAll=true, StartSel={HIGHLIGHT_START}, StopSel={HIGHLIGHT_STOP}"


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


class PassageRepository:
    """Searches one workspace, inside of a read-only transaction that the caller owns."""

    def __init__(self, session: AsyncSession, workspace_id: UUID, filters: SearchFilters, *, model_id: int = 1) -> None:
        self._session = session
        self._model_id = model_id
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
                f" JOIN embeddings_{self._model_id} e ON e.document_id = d.document_id AND e.version = d.live_version"
                f" WHERE {self._documents} AND e.workspace_id = :workspace_id"
                " ORDER BY score DESC, e.chunk_id LIMIT :limit"
            )
        else:
            await self._session.execute(text(_USE_INDEX))
            statement = (
                f"SELECT e.chunk_id, -({_DISTANCE}) AS score FROM embeddings_{self._model_id} e"
                " JOIN documents d ON d.document_id = e.document_id AND d.live_version = e.version"
                f" WHERE {self._documents} AND e.workspace_id = :workspace_id"
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

"""Every query of a search. It finds live versions only: those of which every chunk is stored."""

# ruff: noqa: S608 - what is put into the statements are constants of this module and names of tables; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.filter_conditions import document_conditions
from docutalk_embed.domain import HIGHLIGHT_START, HIGHLIGHT_STOP, KeywordQuery, Lexeme
from docutalk_embed.domain.grouping import Piece
from docutalk_embed.domain.ranking import LIST_SIZE

# As subqueries, because a bare cast of a parameter is parsed again for every row: 29 ms instead of 2 for 1,400 rows.
_VECTOR = "(SELECT CAST(CAST(:vector AS text) AS halfvec))"
_WEIGHTS = "(SELECT CAST(CAST(:weights AS text) AS sparsevec))"
_CANDIDATES = "(SELECT CAST(CAST(:candidates AS text) AS tsquery))"
_HIGHLIGHTED = "(SELECT CAST(CAST(:highlighted AS text) AS tsquery))"
_DISTANCE = f"e.embedding <#> {_VECTOR}"

# Iterative: the scan goes on until enough rows have passed the filters. With sorting forbidden the index, which returns
# rows in order of distance, is the plan.
USE_INDEX = (
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '200', true),"
    " set_config('hnsw.max_scan_tuples', '200000', true), set_config('enable_sort', 'off', true)"
)

_HEADLINE = f"HighlightAll=true, StartSel={HIGHLIGHT_START}, StopSel={HIGHLIGHT_STOP}"


@dataclass(frozen=True)
class Scope:
    """What a search finds: the serving model's id, the workspace's live chunks and its weight of meaning (None: default)."""

    serving_id: int
    total: int
    semantic_weight: float | None


class PassageRepository:
    """Searches one workspace, inside of a read-only transaction that the caller owns."""

    def __init__(self, session: AsyncSession, workspace_id: UUID, filters: SearchFilters) -> None:
        self._session = session
        self._documents, parameters = document_conditions(filters)
        self._parameters: dict[str, Any] = {"workspace_id": workspace_id, **parameters}
        self._narrowed = bool(parameters)

    async def scope(self) -> Scope:
        """As this transaction sees it."""
        found = await self._session.execute(
            text(
                "SELECT s.model_id, coalesce(w.chunk_count, 0), w.semantic_weight"
                " FROM serving s LEFT JOIN workspaces w ON w.workspace_id = :workspace_id"
            ),
            self._parameters,
        )
        return Scope(*found.one())

    async def reach(self, total: int) -> int:
        """How many of the workspace's `total` chunks the filters leave."""
        if not self._narrowed or not total:
            return total
        left = await self._session.execute(
            text(f"SELECT coalesce(sum(d.live_chunk_count), 0) FROM documents d WHERE {self._documents}"), self._parameters
        )
        return int(left.scalar_one())

    async def coverage(self, table: str) -> float:
        """The share of the chunks that can be found which have a vector in this table; 1 when there are none."""
        found = await self._session.execute(
            text(
                f"SELECT count(e.chunk_id), count(*) FROM documents d"
                " JOIN chunks c ON c.document_id = d.document_id AND c.version = d.live_version"
                f" LEFT JOIN {table} e ON e.chunk_id = c.chunk_id WHERE {self._documents}"
            ),
            self._parameters,
        )
        covered, total = found.one()
        return covered / total if total else 1.0

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

    async def nearest(self, table: str, vector: str, *, exact: bool, limit: int = LIST_SIZE) -> dict[UUID, float]:
        """Inner product, which is the cosine for unit vectors, by chunk, best first. `exact` compares with every vector that
        the filters leave, else by the HNSW index."""
        if exact:
            # Sorting by anything but the bare distance keeps the planner away from the index.
            statement = (
                f"SELECT e.chunk_id, -({_DISTANCE}) AS score FROM documents d"
                f" JOIN {table} e ON e.document_id = d.document_id AND e.version = d.live_version"
                f" WHERE {self._documents} AND e.workspace_id = :workspace_id"
                " ORDER BY score DESC, e.chunk_id LIMIT :limit"
            )
        else:
            await self._session.execute(text(USE_INDEX))
            statement = (
                f"SELECT e.chunk_id, -({_DISTANCE}) AS score FROM {table} e"
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

    async def pieces(self, chunk_ids: Sequence[UUID]) -> dict[UUID, Piece]:
        """Those of the chunks that are still live."""
        found = await self._session.execute(
            text(
                "SELECT c.chunk_id, c.document_id, c.version, d.filename, c.ordinal, c.page, c.start_offset, c.end_offset,"
                " c.text, c.gap FROM chunks c JOIN documents d ON d.document_id = c.document_id AND d.live_version = c.version"
                " WHERE c.chunk_id = ANY(CAST(:chunk_ids AS uuid[])) AND c.workspace_id = :workspace_id"
            ),
            {"workspace_id": self._parameters["workspace_id"], "chunk_ids": list(chunk_ids)},
        )
        return {row[0]: Piece(*row) for row in found}

    async def marked(self, texts: Sequence[str], highlighted: str) -> list[str]:
        """The texts with the words of the tsquery `highlighted` marked."""
        found = await self._session.execute(
            text(
                f"SELECT ts_headline('english', translate(t.text, :marks, ''), {_HIGHLIGHTED}, :options)"
                " FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS t (text, place) ORDER BY t.place"
            ),
            {"texts": list(texts), "highlighted": highlighted, "options": _HEADLINE, "marks": HIGHLIGHT_START + HIGHLIGHT_STOP},
        )
        return list(found.scalars())

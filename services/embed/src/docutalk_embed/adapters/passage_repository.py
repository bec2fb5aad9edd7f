"""Every query of a search. It finds live versions only: those of which every chunk is stored."""

# ruff: noqa: S608 - what is put into the statements are constants of this module and names of tables; values are parameters.
from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.filter_conditions import LIVE, document_conditions
from docutalk_embed.adapters.word_index import WordQuery
from docutalk_embed.domain import KeywordQuery
from docutalk_embed.domain.grouping import Piece
from docutalk_embed.domain.names import MAX_SHARING, Names, NameWord, weigh_names
from docutalk_embed.domain.ranking import LIST_SIZE

STATEMENT_SECONDS = 10.0
"""So long one statement of a search may take: a phrase of words that every passage has is looked for in all of their texts, and
the asker gives up after 15 s."""

# As subqueries, because a bare cast of a parameter is parsed again for every row: 29 ms instead of 2 for 1,400 rows.
_VECTOR = "(SELECT CAST(CAST(:vector AS text) AS halfvec))"
_WEIGHTS = "(SELECT CAST(CAST(:weights AS text) AS sparsevec))"
_CANDIDATES = "(SELECT CAST(CAST(:candidates AS text) AS tsquery))"
_REST = "(SELECT CAST(CAST(:rest AS text) AS sparsevec))"
_DISTANCE = f"e.embedding <#> {_VECTOR}"

# Sorting by anything but the bare distance keeps the planner away from the index.
_NEAREST = """
WITH scored AS MATERIALIZED (
  SELECT e.chunk_id, e.document_id, -({distance}) AS score FROM documents d
  JOIN {table} e ON e.document_id = d.document_id AND e.version = d.live_version{chunks} WHERE {meets}
)
(SELECT * FROM scored ORDER BY score DESC, chunk_id LIMIT :limit)
"""
_NEAREST_NAMED = """
UNION (SELECT * FROM scored WHERE document_id = ANY(CAST(:named AS uuid[])) ORDER BY score DESC, chunk_id LIMIT :limit)
"""
_NEAREST_BY_INDEX = """
SELECT e.chunk_id, e.document_id, -({distance}) AS score FROM {table} e
JOIN documents d ON d.document_id = e.document_id AND d.live_version = e.version{chunks}
WHERE {meets} ORDER BY {distance} LIMIT :limit
"""
_NEAREST_WITHIN = """
SELECT e.chunk_id, e.document_id, -({distance}) AS score FROM documents d
JOIN {table} e ON e.document_id = d.document_id AND e.version = d.live_version{chunks}
WHERE {meets} AND d.document_id = ANY(CAST(:named AS uuid[])) ORDER BY score DESC, e.chunk_id LIMIT :limit
"""

# The scores apart from the sorting, which carried the weights along and so went to disk.
_BEST = " SELECT * FROM scored ORDER BY score DESC, chunk_id LIMIT :limit"

# Iterative: the scan goes on until enough rows have passed the filters. With sorting forbidden the index, which returns
# rows in order of distance, is the plan.
# In a larger graph more of it has to be looked at to find as much: 400 rows in 100,000, 711 in a million.
USE_INDEX = (
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', (SELECT CAST(CAST("
    "least(1000, 400 * power(greatest(max(reltuples), 100000) / 100000, 0.25)) AS integer) AS text)"
    " FROM pg_class WHERE oid = to_regclass(:table)), true),"
    " set_config('hnsw.max_scan_tuples', '200000', true), set_config('hnsw.scan_mem_multiplier', '4', true),"
    " set_config('enable_sort', 'off', true)"
)


def is_missing_table(error: ProgrammingError) -> bool:
    """Whether a model's table was dropped after the transaction had seen the model."""
    return getattr(error.orig, "sqlstate", None) == "42P01"


@dataclass(frozen=True)
class Scope:
    """What a search finds: the number of live chunks of the workspace, or of what an isolated search takes for it; how many of
    them the filters leave; and the workspace's weight of meaning (None: the default)."""

    total: int
    reach: int
    semantic_weight: float | None


@dataclass(frozen=True)
class QueryVector:
    """A query's vector as PostgreSQL reads it, and the table of the vectors that it may be compared with."""

    table: str
    literal: str


class PassageRepository:
    """Searches one workspace, inside of a read-only transaction that the caller owns."""

    def __init__(self, session: AsyncSession, workspace_id: UUID, filters: SearchFilters) -> None:
        self._session = session
        self._documents, parameters = document_conditions(filters)
        self._parameters: dict[str, Any] = {"workspace_id": workspace_id, **parameters}
        self._narrowed = bool(parameters)
        # What there is to be told of, beside what is to be found.
        self._told = self._documents if filters.isolated else LIVE
        self.isolated = filters.isolated
        self.document_of: dict[UUID, UUID] = {}
        """The documents of all chunks that were listed so far."""

    async def scope(self) -> Scope:
        """As this transaction sees it."""
        found = await self._session.execute(
            text("SELECT chunk_count, semantic_weight FROM workspaces WHERE workspace_id = :workspace_id"), self._parameters
        )
        total, weight = found.one_or_none() or (0, None)
        reach = await self._reach(total)
        return Scope(reach if self.isolated else total, reach, weight)

    async def _reach(self, total: int) -> int:
        if not self._narrowed or not total:
            return total
        left = await self._session.execute(
            text(f"SELECT coalesce(sum(d.live_chunk_count), 0) FROM documents d WHERE {self._documents}"), self._parameters
        )
        return int(left.scalar_one())

    async def everything(self, table: str) -> int:
        """About how many vectors the table holds, of all workspaces, as the last vacuum has counted them."""
        counted = await self._session.scalar(
            text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:table)"), {"table": table}
        )
        return max(0, int(counted or 0))

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

    async def names(self, words: Sequence[str]) -> Names:
        """What the names of documents tell of a query with these words; see `names_to_look_for`."""
        within = f" JOIN documents AS d ON d.document_id = kept.document_id AND {self._told}" if self.isolated else ""
        found = await self._session.execute(
            text(
                "SELECT array_agg(DISTINCT n.word), count(DISTINCT d.document_id),"
                f" array_agg(d.document_id) FILTER (WHERE {self._documents}),"
                f" array_agg(d.live_chunk_count) FILTER (WHERE {self._documents}),"
                f" (SELECT count(*) FROM (SELECT FROM documents d WHERE {self._told} LIMIT {2 * MAX_SHARING + 1}) AS counted)"
                " FROM (SELECT q.word, l.lexeme FROM unnest(CAST(:words AS text[])) AS q (word),"
                " unnest(ts_lexize('english_stem', replace(q.word, ' ', ''))) AS l (lexeme)) AS n"
                f" CROSS JOIN LATERAL (SELECT kept.document_id FROM document_names AS kept{within}"
                f" WHERE kept.workspace_id = :workspace_id AND kept.lexeme = n.lexeme LIMIT {MAX_SHARING + 1}) AS kept"
                " JOIN documents d ON d.document_id = kept.document_id AND d.live_version IS NOT NULL GROUP BY n.lexeme"
                " ORDER BY n.lexeme"
            ),
            self._parameters | {"words": list(words)},
        )
        total, told = 0, []
        for query_words, count, documents, chunk_counts, total_ in found:
            told.append(NameWord(tuple(query_words), count, dict(zip(documents or (), chunk_counts or (), strict=True))))
            total = total_
        return weigh_names(told, total)

    async def nearest(
        self,
        vector: QueryVector,
        words: WordQuery,
        *,
        exact: bool,
        named: Sequence[UUID] = (),
        limit: int = LIST_SIZE,
        read: int = LIST_SIZE,
    ) -> dict[UUID, float]:
        """Inner product, which is the cosine for unit vectors, by chunk, best first: of the chunks that meet the conditions of
        the query's words, and besides as many of the documents `named`.

        `exact` compares with every vector that the filters leave, else the best of `read` are taken from the HNSW index.
        """
        if exact:
            return await self._by_vector(_NEAREST + (_NEAREST_NAMED if named else ""), vector, words, named, limit)
        await self._session.execute(text(USE_INDEX), {"table": vector.table})
        found = await self._by_vector(_NEAREST_BY_INDEX, vector, words, named, max(limit, read))
        scores = dict(itertools.islice(found.items(), limit))
        await self._session.execute(text("SET LOCAL enable_sort = on"))
        if named:
            scores |= await self._by_vector(_NEAREST_WITHIN, vector, words, named, limit)
        return _best_first(scores)

    async def _by_vector(
        self, statement: str, vector: QueryVector, words: WordQuery, named: Sequence[UUID], limit: int
    ) -> dict[UUID, float]:
        meets = f"{self._documents} AND e.workspace_id = :workspace_id{words.conditions}"
        chunks = " JOIN chunks c ON c.chunk_id = e.chunk_id" if words.conditions else ""
        parameters = self._parameters | words.parameters | {"vector": vector.literal, "limit": limit}
        if ":named" in statement:
            parameters["named"] = list(named)
        found = await self._session.execute(
            text(statement.format(table=vector.table, chunks=chunks, meets=meets, distance=_DISTANCE)), parameters
        )
        return self._scores(found)

    def _scores(self, found: Iterable[Sequence[Any]]) -> dict[UUID, float]:
        scores: dict[UUID, float] = {}
        for chunk_id, document_id, score in found:
            self.document_of[chunk_id] = document_id
            scores[chunk_id] = float(score)
        return _best_first(scores)

    async def matching(
        self, query: KeywordQuery, words: WordQuery, *, without: Sequence[UUID] = (), limit: int = LIST_SIZE
    ) -> dict[UUID, float]:
        """BM25 score by chunk, best first, of the chunks that meet the conditions of the query's words; none of the documents
        `without`."""
        # Scores are never negative, so a chunk without any of the words has a product of exactly 0.
        chosen = f"c.words @@ {_CANDIDATES}" if query.candidates else f"c.weights <#> {_WEIGHTS} < 0"
        parameters: dict[str, Any] = {"weights": query.weights, "candidates": query.candidates, "limit": limit}
        if without:
            chosen += " AND d.document_id <> ALL(CAST(:without AS uuid[]))"
            parameters["without"] = list(without)
        found = await self._session.execute(
            text(
                f"WITH scored AS MATERIALIZED (SELECT c.chunk_id, c.document_id, -(c.weights <#> {_WEIGHTS}) AS score"
                " FROM chunks c"
                " JOIN documents d ON d.document_id = c.document_id AND d.live_version = c.version"
                f" WHERE {self._documents} AND c.workspace_id = :workspace_id{words.conditions} AND {chosen}){_BEST}"
            ),
            self._parameters | words.parameters | parameters,
        )
        return self._scores(found)

    async def matching_within(
        self, query: KeywordQuery, rest: KeywordQuery, words: WordQuery, documents: Sequence[UUID], *, limit: int = LIST_SIZE
    ) -> dict[UUID, float]:
        """Chunks of these documents that hold a word of `query`, with their BM25 score for `rest`, a part of it, best first."""
        found = await self._session.execute(
            text(
                f"WITH scored AS MATERIALIZED (SELECT c.chunk_id, c.document_id, -(c.weights <#> {_REST}) AS score"
                " FROM documents d"
                " JOIN chunks c ON c.document_id = d.document_id AND c.version = d.live_version"
                f" WHERE {self._documents} AND d.document_id = ANY(CAST(:documents AS uuid[])){words.conditions}"
                f" AND c.weights <#> {_WEIGHTS} < 0){_BEST}"
            ),
            self._parameters
            | words.parameters
            | {"weights": query.weights, "rest": rest.weights, "documents": list(documents), "limit": limit},
        )
        return self._scores(found)

    async def standing(self, words: WordQuery, *, limit: int = LIST_SIZE) -> dict[UUID, float]:
        """Chunks that meet the conditions of the query's words, all with the same score, 0: for phrases like `"to be"`, of which
        the index has no word."""
        found = await self._session.execute(
            text(
                "SELECT c.chunk_id, c.document_id, 0 AS score FROM documents d"
                " JOIN chunks c ON c.document_id = d.document_id AND c.version = d.live_version"
                f" WHERE {self._documents}{words.conditions} ORDER BY c.document_id, c.ordinal LIMIT :limit"
            ),
            self._parameters | words.parameters | {"limit": limit},
        )
        return self._scores(found)

    async def pieces(self, chunk_ids: Sequence[UUID], read: Sequence[UUID] | None = None) -> dict[UUID, Piece]:
        """Those of the chunks that are still live and meet the filters, whoever has listed them: a cursor can be forged. With
        their texts, or, because each of those lies apart and takes as long to
        read as the rest of ten chunks, with those of the chunks `read` only."""
        some = "CASE WHEN c.chunk_id = ANY(CAST(:read AS uuid[])) THEN c.text END"
        found = await self._session.execute(
            text(
                "SELECT c.chunk_id, c.document_id, c.version, d.filename, c.ordinal, c.page, c.start_offset, c.end_offset,"
                f" c.gap, c.config, {'c.text' if read is None else some} FROM chunks c"
                " JOIN documents d ON d.document_id = c.document_id AND d.live_version = c.version"
                f" WHERE c.chunk_id = ANY(CAST(:chunk_ids AS uuid[])) AND c.workspace_id = :workspace_id AND {self._documents}"
            ),
            self._parameters | {"chunk_ids": list(chunk_ids)} | ({} if read is None else {"read": list(read)}),
        )
        return {row[0]: Piece(*row) for row in found}


def _best_first(scores: Mapping[UUID, float]) -> dict[UUID, float]:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))

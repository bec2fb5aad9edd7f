"""Order the passages of a workspace by how well they answer a query, inside of a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.embed import SearchMode

from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry
from docutalk_embed.adapters.passage_repository import PassageRepository, Scope
from docutalk_embed.domain import EXACT_SCAN_CHUNKS, Lexeme, any_of, keyword_query
from docutalk_embed.domain.ranking import SEMANTIC_WEIGHT, Ranked, rank


@dataclass(frozen=True)
class QueryVector:
    """A query's vector as PostgreSQL reads it, and the table of the vectors that it may be compared with."""

    table: str
    literal: str


async def query_vector(query: str, model: ModelRecord, registry: ModelRegistry) -> QueryVector:
    """The query as this model sees it. Raises `ModelUnavailable`, and `RequestFailed` when too many queries wait."""
    vector = await (await registry.load(model)).embed_query(query)
    return QueryVector(model.table, "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]")


@dataclass(frozen=True)
class Ranking:
    """Best first; `highlighted` is the tsquery whose words are marked in passages, None without any."""

    order: list[Ranked]
    highlighted: str | None = None


async def rank_passages(
    found: PassageRepository, scope: Scope, query: str, vector: QueryVector | None, mode: SearchMode
) -> Ranking:
    """At most the best hundred by meaning and the best hundred by words, in one order. `vector` is None to rank by words
    only."""
    reach = await found.reach(scope.total)
    if not reach:
        return Ranking([])
    lexemes = await found.lexemes(query)
    semantic: dict[UUID, float] = {}
    keyword: dict[UUID, float] = {}
    if vector is not None:
        semantic = await found.nearest(vector.table, vector.literal, exact=reach <= EXACT_SCAN_CHUNKS)
    if mode is not SearchMode.SEMANTIC and (words := keyword_query(lexemes, scope.total, reach)):
        keyword = await found.matching(words)
    weight = SEMANTIC_WEIGHT if scope.semantic_weight is None else scope.semantic_weight
    return Ranking(rank(semantic, keyword, semantic_weight=weight), _any_known(lexemes))


async def highlighted_words(found: PassageRepository, query: str) -> str | None:
    """The tsquery of the words of a query that the workspace has; None without any."""
    return _any_known(await found.lexemes(query))


def _any_known(lexemes: Sequence[Lexeme]) -> str | None:
    return any_of([lexeme.text for lexeme in lexemes if lexeme.chunk_count]) or None

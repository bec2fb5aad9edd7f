"""Order the passages of a workspace by how well they answer a query, inside of a transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters, SearchMode
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.isolated_words import IsolatedWords
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry
from docutalk_embed.adapters.passage_repository import PassageRepository, QueryVector
from docutalk_embed.adapters.word_index import WordIndex, WordQuery
from docutalk_embed.domain import KeywordQuery, index_read, inverse_document_frequency, is_better_exact, keyword_query
from docutalk_embed.domain.names import NAME_COUNTS, NO_NAMES, Names, names_to_look_for
from docutalk_embed.domain.ranking import SEMANTIC_WEIGHT, Ranked, rank
from docutalk_embed.domain.words import ParsedQuery

LITERAL_WEIGHT = 0.1
"""How much of a score is meaning when the query is nothing but `SKU-4711`."""


async def query_vector(parsed: ParsedQuery, model: ModelRecord, registry: ModelRegistry) -> QueryVector:
    """The query as this model sees it. Raises `ModelUnavailable`, and `RequestFailed` when too many queries wait."""
    vector = await (await registry.load(model)).embed_query(parsed.text)
    return QueryVector(model.table, "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]")


@dataclass(frozen=True)
class Search:
    """A query in one workspace, as the words of that workspace have it, inside of a transaction that the caller owns."""

    found: PassageRepository
    index: WordIndex
    words: WordQuery

    @classmethod
    async def begun(cls, session: AsyncSession, workspace_id: UUID, filters: SearchFilters, parsed: ParsedQuery) -> Search:
        index = IsolatedWords(session, workspace_id, filters) if filters.isolated else WordIndex(session, workspace_id)
        return cls(PassageRepository(session, workspace_id, filters), index, await index.read(parsed))


async def rank_passages(search: Search, vector: QueryVector | None, mode: SearchMode) -> list[Ranked]:
    """The best hundred by meaning and the best hundred by words, and as many of the documents that the query names, in one
    order. `vector` is None to rank without meaning; the names of documents count in a hybrid ranking only."""
    found, words = search.found, search.words
    scope = await found.scope()
    if not scope.reach:
        return []
    names = await found.names(names_to_look_for(words.parsed.text)) if mode is SearchMode.HYBRID else NO_NAMES
    semantic: dict[UUID, float] = {}
    keyword: dict[UUID, float] = {}
    if vector is not None:
        # A phrase leaves few chunks: it is better to begin with those than to read on in the index until they have come by. And
        # what the index finds depends on all that is in it.
        everything = await found.everything(vector.table)
        exact = words.has_phrases or found.isolated or is_better_exact(scope.reach, everything)
        semantic = await found.nearest(vector, words, exact=exact, named=names.documents, read=index_read(everything))
    if mode is not SearchMode.SEMANTIC:
        query = keyword_query(words.lexemes, scope.total, scope.reach)
        if query is not None and words.has_phrases:
            # Whatever has the phrase is a candidate, how common its words may be.
            query = replace(query, candidates=None)
        if query is not None:
            keyword = await _by_words(search, names, query, scope.total)
        elif mode is SearchMode.KEYWORD and words.has_phrases and not words.lexemes:
            keyword = await found.standing(words)
    shares = {chunk: names.shares.get(found.document_of[chunk], 0.0) for chunk in semantic | keyword} if names.shares else None
    weight = SEMANTIC_WEIGHT if scope.semantic_weight is None else scope.semantic_weight
    weight = min(weight, LITERAL_WEIGHT) if words.is_literal else weight
    return rank(semantic, keyword, shares, semantic_weight=weight)


async def _by_words(search: Search, names: Names, query: KeywordQuery, total: int) -> dict[UUID, float]:
    """In the documents that the query names, the words of their names count the same for every passage: a cover says the
    company's name most often, and the passage that answers says it not at all."""
    found, words = search.found, search.words
    if names.documents:
        said = {lexeme for word in " ".join(names.words).split() for lexeme in words.lexemes_of.get(word, ())}
        rest = keyword_query([lexeme for lexeme in words.lexemes if lexeme.text not in said], total, 0)
        if rest is not None:
            named = [lexeme for lexeme in words.lexemes if lexeme.text in said and lexeme.chunk_count]
            constant = NAME_COUNTS * sum(inverse_document_frequency(lexeme.chunk_count, total) for lexeme in named)
            within = await found.matching_within(query, rest, words, names.documents)
            elsewhere = await found.matching(query, words, without=names.documents)
            return elsewhere | {chunk: score + constant for chunk, score in within.items()}
    return await found.matching(query, words)

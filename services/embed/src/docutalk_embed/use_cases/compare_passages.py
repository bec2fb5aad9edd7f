"""Ask the same queries of both models of the open change, so that people see what a switch would bring."""

from __future__ import annotations

import time

from docutalk_common.contracts.embed import ComparedQuery, ComparePassages, Comparison, Passage, SearchMode
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed

from docutalk_embed.adapters.model_changes import find_open
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry
from docutalk_embed.adapters.passage_repository import PassageRepository
from docutalk_embed.domain import InvalidQuery, clean_query
from docutalk_embed.domain.grouping import ungrouped
from docutalk_embed.use_cases.rank_passages import QueryVector, query_vector, rank_passages
from docutalk_embed.use_cases.show_passages import show_passages

MAX_QUERIES = 20
MAX_COMPARED = 20


async def compare_passages(request: ComparePassages, db: Database, registry: ModelRegistry) -> Comparison:
    """The old model's passages beside the new one's, also after the switch. Passages are chunks here: nothing is joined or left
    out. Raises `InvalidQuery`, `ModelUnavailable`, and `RequestFailed` (`conflict`) when no change is open."""
    if not 1 <= len(request.queries) <= MAX_QUERIES:
        raise InvalidQuery(f"{len(request.queries)} queries were given; 1 to {MAX_QUERIES} are compared at once")
    if not 1 <= request.limit <= MAX_COMPARED:
        raise InvalidQuery(f"the limit is {request.limit}; it may be 1 to {MAX_COMPARED}")
    if request.mode is SearchMode.KEYWORD:
        raise InvalidQuery("by words alone both models find the same; compare by `semantic` or `hybrid`")
    queries = [clean_query(query) for query in request.queries]
    async with db.read() as session:
        change = await find_open(session)
    if change is None:
        raise RequestFailed("conflict", "No change of model is open, so there is nothing to compare. Start one first.")
    models = (change.serving, change.following)
    old, new = models if change.serving.name == change.from_model else models[::-1]
    compared = [await _compare(query, (old, new), request, db, registry) for query in queries]
    async with db.read() as session:
        coverage = await PassageRepository(session, request.workspace_id, request.filters).coverage(new.table)
    return Comparison(from_model=old.name, to_model=new.name, coverage=coverage, queries=compared)


async def _compare(
    query: str, models: tuple[ModelRecord, ModelRecord], asked: ComparePassages, db: Database, registry: ModelRegistry
) -> ComparedQuery:
    (before, before_ms), (after, after_ms) = [await _timed(query, model, asked, db, registry) for model in models]
    listed, others = ({passage.chunk_id for passage in passages} for passages in (before, after))
    longest = max(len(listed), len(others))
    return ComparedQuery(
        query=query,
        before=before,
        after=after,
        overlap=len(listed & others) / longest if longest else 1.0,
        before_ms=before_ms,
        after_ms=after_ms,
    )


async def _timed(
    query: str, model: ModelRecord, asked: ComparePassages, db: Database, registry: ModelRegistry
) -> tuple[list[Passage], float]:
    started = time.perf_counter()
    vector: QueryVector = await query_vector(query, model, registry)
    async with db.read() as session:
        found = PassageRepository(session, asked.workspace_id, asked.filters)
        ranking = await rank_passages(found, await found.scope(), query, vector, asked.mode)
        passages, _ = await show_passages(found, ungrouped(ranking.order), asked.limit, highlighted=ranking.highlighted)
    return passages, (time.perf_counter() - started) * 1000

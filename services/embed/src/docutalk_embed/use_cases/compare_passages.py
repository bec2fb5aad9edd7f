"""Ask the same queries of both models of the open change, so that people see what a switch would bring."""

from __future__ import annotations

import time
from dataclasses import dataclass

from docutalk_common.contracts.embed import ComparedQuery, ComparePassages, Comparison, Passage, SearchMode
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed
from sqlalchemy.exc import ProgrammingError

from docutalk_embed.adapters.model_changes import find_open
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry
from docutalk_embed.adapters.passage_repository import STATEMENT_SECONDS, PassageRepository, is_missing_table
from docutalk_embed.domain import InvalidQuery
from docutalk_embed.domain.grouping import ungrouped
from docutalk_embed.domain.words import ParsedQuery, parse_query
from docutalk_embed.use_cases.rank_passages import Search, query_vector, rank_passages
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
    queries = [parse_query(query) for query in request.queries]
    async with db.read() as session:
        change = await find_open(session)
    if change is None:
        raise RequestFailed("conflict", "No change of model is open, so there is nothing to compare. Start one first.")
    models = (change.serving, change.following)
    old, new = models if change.serving.name == change.from_model else models[::-1]
    one = _Comparing(request, db, registry)
    try:
        before = [await one.find(query, old) for query in queries]
        after = [await one.find(query, new) for query in queries]
        async with db.read() as session:
            coverage = await PassageRepository(session, request.workspace_id, request.filters).coverage(new.table)
    except ProgrammingError as error:
        if not is_missing_table(error):
            raise
        raise RequestFailed("conflict", "The change of model has ended meanwhile, so there is nothing to compare.") from error
    compared = [_compared(*sides) for sides in zip(request.queries, before, after, strict=True)]
    return Comparison(from_model=old.name, to_model=new.name, coverage=coverage, queries=compared)


@dataclass(frozen=True)
class _Found:
    passages: list[Passage]
    milliseconds: float


@dataclass(frozen=True)
class _Comparing:
    asked: ComparePassages
    db: Database
    registry: ModelRegistry

    async def find(self, query: ParsedQuery, model: ModelRecord) -> _Found:
        """What this model finds."""
        started = time.perf_counter()
        vector = await query_vector(query, model, self.registry)
        async with self.db.read(patience=STATEMENT_SECONDS) as session:
            search = await Search.begun(session, self.asked.workspace_id, self.asked.filters, query)
            ranking = await rank_passages(search, vector, self.asked.mode)
            passages, _ = await show_passages(search, ungrouped(ranking), self.asked.limit)
        return _Found(passages, (time.perf_counter() - started) * 1000)


def _compared(query: str, before: _Found, after: _Found) -> ComparedQuery:
    listed, others = ({passage.chunk_id for passage in found.passages} for found in (before, after))
    longest = max(len(listed), len(others))
    return ComparedQuery(
        query=query,
        before=before.passages,
        after=after.passages,
        overlap=len(listed & others) / longest if longest else 1.0,
        before_ms=before.milliseconds,
        after_ms=after.milliseconds,
    )

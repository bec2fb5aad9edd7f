"""Find the passages of a workspace that answer a query, by meaning and by words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
from docutalk_common.contracts.embed import PassagesFound, SearchMode, SearchPassages
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed
from docutalk_common.telemetry import get_logger
from sqlalchemy.exc import ProgrammingError

from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry, ModelUnavailable, find_serving
from docutalk_embed.adapters.passage_repository import PassageRepository
from docutalk_embed.domain import MAX_LIMIT, InvalidQuery, clean_query
from docutalk_embed.domain.cursor import read_cursor, write_cursor
from docutalk_embed.domain.grouping import Group, Piece, group, ungrouped
from docutalk_embed.use_cases.rank_passages import highlighted_words, query_vector, rank_passages
from docutalk_embed.use_cases.show_passages import show_passages

log = get_logger(__name__)

TRIES = 4
"""The model may be changed while the query is embedded; that it is changed again and again is not what happens."""


async def search_passages(request: SearchPassages, db: Database, registry: ModelRegistry) -> PassagesFound:
    """Best first, from live versions only. Raises `InvalidQuery`, `ModelUnavailable` when meaning alone is asked for and the
    model is away, and `DependencyUnavailable` while PostgreSQL is.

    A hybrid search without its model goes by the words, and `model` is empty.
    """
    started = time.perf_counter()
    asked = request.model_copy(update={"query": clean_query(request.query)})
    if not 1 <= asked.limit <= MAX_LIMIT:
        raise InvalidQuery(f"the limit is {asked.limit}; it may be 1 to {MAX_LIMIT}")
    if asked.after is None:
        page = await _first_page(asked, db, registry)
    else:
        page = await _later_page(asked, asked.after, db)
    return page.model_copy(update={"took_ms": (time.perf_counter() - started) * 1000})


async def _first_page(asked: SearchPassages, db: Database, registry: ModelRegistry) -> PassagesFound:
    """Ranks with vectors of the model that serves at the moment which the transaction sees, and of no other."""
    for _ in range(TRIES):
        model, vector, away = None, None, None
        if asked.mode is not SearchMode.KEYWORD:
            model = await _expected_model(db, registry)
            try:
                vector = await query_vector(asked.query, model, registry)
            except ModelUnavailable as error:
                away = error
        try:
            async with db.read() as session:
                found = PassageRepository(session, asked.workspace_id, asked.filters)
                scope = await found.scope()
                if model is not None and model.id != scope.serving_id:
                    registry.last_serving = await find_serving(session)
                    continue
                if away is not None and asked.mode is SearchMode.SEMANTIC:
                    raise away
                if away is not None:
                    log.warning("searched by words only", reason=str(away))
                ranking = await rank_passages(found, scope, asked.query, vector, asked.mode)
                pieces = await found.pieces([ranked.chunk_id for ranked in ranking.order])
                groups = group(ranking.order, pieces) if asked.merge else ungrouped(ranking.order)
                name = model.name if model and vector else ""
                return await _page(found, asked, name, groups, highlighted=ranking.highlighted, pieces=pieces)
        except ProgrammingError as error:
            # The old model was switched away from and dropped after this transaction had seen it serve.
            if getattr(error.orig, "sqlstate", None) != asyncpg.UndefinedTableError.sqlstate:
                raise
    raise RequestFailed("unavailable", "The model of the installation is being changed just now. Try again in a moment.")


async def _later_page(asked: SearchPassages, after: str, db: Database) -> PassagesFound:
    model, groups = read_cursor(after, asked)
    async with db.read() as session:
        found = PassageRepository(session, asked.workspace_id, asked.filters)
        highlighted = await highlighted_words(found, asked.query)
        return await _page(found, asked, model, groups, highlighted=highlighted)


async def _page(
    found: PassageRepository,
    asked: SearchPassages,
    model: str,
    groups: Sequence[Group],
    *,
    highlighted: str | None,
    pieces: Mapping[UUID, Piece] | None = None,
) -> PassagesFound:
    passages, rest = await show_passages(found, groups, asked.limit, highlighted=highlighted, pieces=pieces)
    return PassagesFound(passages=passages, took_ms=0, model=model, next=write_cursor(asked, model, rest) if rest else None)


async def _expected_model(db: Database, registry: ModelRegistry) -> ModelRecord:
    if registry.last_serving is None:
        async with db.read() as session:
            registry.last_serving = await find_serving(session)
    return registry.last_serving

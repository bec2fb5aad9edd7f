"""Find the passages of a workspace that answer a query, by meaning and by words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from docutalk_common.contracts.embed import ModelProvider, Passage, PassagesFound, SearchMode, SearchPassages
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed
from docutalk_common.telemetry import get_logger
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry, ModelUnavailable, find_serving
from docutalk_embed.adapters.passage_repository import STATEMENT_SECONDS, QueryVector, is_missing_table
from docutalk_embed.domain import MAX_LIMIT, InvalidQuery, clean_query
from docutalk_embed.domain.cursor import read_cursor, write_cursor
from docutalk_embed.domain.grouping import COMPARED, Group, group, ungrouped
from docutalk_embed.domain.words import ParsedQuery, parse_query
from docutalk_embed.use_cases.rank_passages import Search, query_vector, rank_passages
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
    parsed = parse_query(asked.query)
    if not 1 <= asked.limit <= MAX_LIMIT:
        raise InvalidQuery(f"the limit is {asked.limit}; it may be 1 to {MAX_LIMIT}")
    if asked.after is None:
        page = await _first_page(asked, parsed, db, registry)
    else:
        page = await _later_page(asked, asked.after, parsed, db)
    return page.model_copy(update={"took_ms": (time.perf_counter() - started) * 1000})


async def _first_page(asked: SearchPassages, parsed: ParsedQuery, db: Database, registry: ModelRegistry) -> PassagesFound:
    """Ranks with vectors of the model that serves at the moment which the transaction sees, and of no other."""
    for _ in range(TRIES):
        model, vector, away = None, None, None
        if asked.mode is not SearchMode.KEYWORD:
            model = await _expected_model(db, registry)
            try:
                async with asyncio.timeout(asked.model_seconds):
                    vector = await query_vector(parsed, model, registry)
            except ModelUnavailable as error:
                away = error
            except TimeoutError:
                away = ModelUnavailable(f"The model {model.name} did not answer within {asked.model_seconds:g} s.")
        try:
            async with db.read(patience=STATEMENT_SECONDS) as session:
                if model is not None and (serving := await find_serving(session)) != model:
                    registry.last_serving = serving
                    continue
                if away is not None and asked.mode is SearchMode.SEMANTIC:
                    raise away
                if away is not None:
                    log.warning("searched by words only", reason=str(away))
                return await _ranked(session, asked, parsed, vector, model.name if model and vector else "")
        except ProgrammingError as error:
            # The model was switched away from, and dropped after this transaction had seen it serve.
            if not is_missing_table(error):
                raise
    raise RequestFailed("unavailable", "The model of the installation is being changed just now. Try again in a moment.")


async def _ranked(
    session: AsyncSession, asked: SearchPassages, parsed: ParsedQuery, vector: QueryVector | None, model: str
) -> PassagesFound:
    search = await Search.begun(session, asked.workspace_id, asked.filters, parsed)
    ranking = await rank_passages(search, vector, asked.mode)
    if not asked.merge:
        passages, rest = await show_passages(search, ungrouped(ranking), asked.limit)
        return _page(asked, model, passages, rest)
    chunk_ids = [ranked.chunk_id for ranked in ranking]
    pieces = await search.found.pieces(chunk_ids, read=chunk_ids[:COMPARED])
    passages, rest = await show_passages(search, group(ranking, pieces), asked.limit, pieces)
    return _page(asked, model, passages, rest)


async def _later_page(asked: SearchPassages, after: str, parsed: ParsedQuery, db: Database) -> PassagesFound:
    model, groups = read_cursor(after, asked)
    async with db.read(patience=STATEMENT_SECONDS) as session:
        search = await Search.begun(session, asked.workspace_id, asked.filters, parsed)
        passages, rest = await show_passages(search, groups, asked.limit)
    return _page(asked, model, passages, rest)


def _page(asked: SearchPassages, model: str, passages: list[Passage], rest: Sequence[Group]) -> PassagesFound:
    return PassagesFound(passages=passages, took_ms=0, model=model, next=write_cursor(asked, model, rest) if rest else None)


async def _expected_model(db: Database, registry: ModelRegistry) -> ModelRecord:
    """The model that serves, as far as is known. The built-in one costs a moment if it is the wrong one by now, but another may
    be away for good since it was switched away from, and asking it would take seconds."""
    if registry.last_serving is None or registry.last_serving.provider is not ModelProvider.BUILT_IN:
        async with db.read() as session:
            registry.last_serving = await find_serving(session)
    return registry.last_serving

"""Find the passages of a workspace that answer a query, by meaning and by words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from uuid import UUID

from docutalk_common.contracts.embed import Passage, PassageScores, PassagesFound, SearchMode, SearchPassages
from docutalk_common.db import Database

from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.adapters.passage_repository import PassageRepository, StoredPassage
from docutalk_embed.domain import EXACT_SCAN_CHUNKS, MAX_LIMIT, InvalidQuery, any_of, clean_query, fuse, highlights, keyword_query


async def search_passages(request: SearchPassages, db: Database, registry: ModelRegistry) -> PassagesFound:
    """Best first, from live versions only. Raises `InvalidQuery`, and `DependencyUnavailable` while PostgreSQL is away."""
    started = time.perf_counter()
    query = clean_query(request.query)
    if not 1 <= request.limit <= MAX_LIMIT:
        raise InvalidQuery(f"the limit is {request.limit}; it may be 1 to {MAX_LIMIT}")
    by_meaning = request.mode is not SearchMode.KEYWORD
    vector = await _vector(query, registry) if by_meaning else None
    async with db.read() as session:
        found = PassageRepository(session, request.workspace_id, request.filters)
        total, reach = await found.count()
        if not reach:
            return PassagesFound(passages=[], took_ms=_milliseconds(started))
        lexemes = await found.lexemes(query)
        semantic: dict[UUID, float] = {}
        keyword: dict[UUID, float] = {}
        if vector is not None:
            semantic = await found.nearest(vector, exact=reach <= EXACT_SCAN_CHUNKS)
        if request.mode is not SearchMode.SEMANTIC and (words := keyword_query(lexemes, total, reach)):
            keyword = await found.matching(words)
        fused = fuse(semantic, keyword)
        best = sorted(fused, key=lambda chunk: (-fused[chunk], chunk))[: request.limit]
        stored = await found.passages(best, any_of([lexeme.text for lexeme in lexemes if lexeme.chunk_count]) or None)
    passages = [_passage(stored[chunk], fused[chunk], semantic, keyword) for chunk in best]
    return PassagesFound(passages=passages, took_ms=_milliseconds(started))


async def _vector(query: str, registry: ModelRegistry) -> str:
    """The query's vector as PostgreSQL reads it."""
    [vector] = await registry.built_in.embed([query], Lane.QUERY)
    return "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]"


def _passage(stored: StoredPassage, score: float, semantic: Mapping[UUID, float], keyword: Mapping[UUID, float]) -> Passage:
    return Passage(
        chunk_id=stored.chunk_id,
        document_id=stored.document_id,
        version=stored.version,
        filename=stored.filename,
        page=stored.page,
        start=stored.start,
        end=stored.end,
        text=stored.text,
        highlights=highlights(stored.text, stored.marked) if stored.marked is not None else [],
        score=score,
        scores=PassageScores(semantic=semantic.get(stored.chunk_id), keyword=keyword.get(stored.chunk_id)),
    )


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000

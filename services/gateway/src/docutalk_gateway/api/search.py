"""Search: passages by meaning and by words."""

from __future__ import annotations

import time

from docutalk_common.contracts.embed import PassagesFound, SearchFilters, SearchPassages
from fastapi import APIRouter

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Reader

router = APIRouter(tags=["search"])

# The first search after a start may wait for the model; later ones take milliseconds.
SEARCH_SECONDS = 10.0


@router.post("/workspaces/{workspace_id}/search")
async def search(access: Reader, body: shapes.SearchRequest) -> shapes.SearchResults:
    """Passages of this workspace that fit the query, best first."""
    started = time.perf_counter()
    question = SearchPassages(
        workspace_id=access.workspace_id,
        query=body.query,
        limit=body.limit,
        mode=body.mode,
        filters=SearchFilters(document_ids=body.filters.document_ids, content_types=body.filters.content_types),
    )
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.passage.search", question, PassagesFound, cause=access.cause, timeout=SEARCH_SECONDS
    )
    results = [shapes.SearchResult.of(passage) for passage in found.passages]
    return shapes.SearchResults(results=results, took_ms=round((time.perf_counter() - started) * 1000, 3))

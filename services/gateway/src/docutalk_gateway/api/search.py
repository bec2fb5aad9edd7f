"""Search: passages by meaning and by words, documents that are alike, and the places that are named."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

from docutalk_common.contracts import embed
from docutalk_common.errors import RequestFailed
from fastapi import APIRouter, Depends
from fastapi import Query as Parameter

from docutalk_gateway.api import search_shapes as shapes
from docutalk_gateway.api.context import Access, Member, Page
from docutalk_gateway.api.shapes import Listing

router = APIRouter(tags=["search"])

_SETTINGS = "/workspaces/{workspace_id}/search/settings"
# Searches take milliseconds. But a model at an endpoint is asked for up to 5 s before a search goes by the words alone, or says
# that it is away; and for as long again if the model was switched meanwhile.
SEARCH_SECONDS = 15.0
# Twenty queries with two models, one of which may be at the other end of a network.
COMPARE_SECONDS = 60.0


@router.post("/workspaces/{workspace_id}/search")
async def search(access: Member, body: shapes.SearchRequest) -> shapes.SearchResults:
    """Passages of this workspace that fit the query, best first."""
    started = time.perf_counter()
    question = embed.SearchPassages(
        workspace_id=access.workspace_id,
        query=body.query,
        limit=body.limit,
        mode=body.mode,
        filters=access.narrowed(body.filters.asked()),
        after=body.after,
        merge=body.merge,
    )
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.passage.search", question, embed.PassagesFound, cause=access.cause, timeout=SEARCH_SECONDS
    )
    results = [shapes.SearchResult.of(passage) for passage in found.passages]
    took_ms = round((time.perf_counter() - started) * 1000, 3)
    return shapes.SearchResults(results=results, took_ms=took_ms, model=found.model or None, next=found.next)


@router.post("/workspaces/{workspace_id}/search/compare")
async def compare_models(access: Member, body: shapes.CompareRequest) -> shapes.Comparison:
    """The same searches with both models of the open change, side by side. `409` while no model is being changed."""
    question = embed.ComparePassages(
        workspace_id=access.workspace_id,
        queries=body.queries,
        limit=body.limit,
        mode=body.mode,
        filters=body.filters.asked(),
    )
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.passage.compare", question, embed.Comparison, cause=access.cause, timeout=COMPARE_SECONDS
    )
    return shapes.Comparison.of(found)


@router.get(_SETTINGS)
async def get_search_settings(access: Member) -> shapes.SearchSettings:
    """How this workspace's searches rank."""
    question = embed.GetSearchSettings(workspace_id=access.workspace_id)
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.settings.get", question, embed.SearchSettings, cause=access.cause
    )
    return shapes.SearchSettings.of(found)


@router.patch(_SETTINGS)
async def patch_search_settings(access: Member, body: shapes.SearchSettingsChanges) -> shapes.SearchSettings:
    """Changes how this workspace's searches rank, from the next one on. Owners only."""
    question = embed.ChangeSearchSettings(workspace_id=access.workspace_id, semantic_weight=body.semantic_weight)
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.settings.change", question, embed.SearchSettings, cause=access.cause
    )
    return shapes.SearchSettings.of(found)


@router.get("/workspaces/{workspace_id}/documents/{document_id}/similar")
async def similar_documents(
    access: Member, document_id: UUID, limit: Annotated[int, Parameter(ge=1, le=100)] = 10
) -> shapes.SimilarDocuments:
    """Documents of this workspace that say the like, most alike first. `404` also while the document is not indexed yet."""
    started = time.perf_counter()
    question = embed.FindSimilar(workspace_id=access.workspace_id, document_id=document_id, limit=limit)
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.document.similar", question, embed.SimilarDocuments, cause=access.cause, timeout=SEARCH_SECONDS
    )
    items = [shapes.SimilarDocument.of(document) for document in found.items]
    return shapes.SimilarDocuments(items=items, took_ms=round((time.perf_counter() - started) * 1000, 3))


def within(
    west: Annotated[
        shapes.Longitude | None, Parameter(description="Degrees; greater than `east` across the 180th meridian")
    ] = None,
    south: Annotated[shapes.Latitude | None, Parameter()] = None,
    east: Annotated[shapes.Longitude | None, Parameter()] = None,
    north: Annotated[shapes.Latitude | None, Parameter()] = None,
) -> embed.BoundingBox | None:
    """A box of four parameters; None without any of them. Raises `RequestFailed("invalid")`."""
    if west is None or south is None or east is None or north is None:
        if (west, south, east, north) == (None, None, None, None):
            return None
        raise RequestFailed("invalid", "A box needs all of west, south, east and north.")
    if south > north:
        raise RequestFailed("invalid", "A box whose south is greater than its north holds nothing: exchange them.")
    return embed.BoundingBox(west=west, south=south, east=east, north=north)


Within = Annotated[embed.BoundingBox | None, Depends(within)]


@router.get("/workspaces/{workspace_id}/places")
async def list_places(access: Member, page: Page, box: Within) -> Listing[shapes.NamedPlace]:
    """The places that this workspace's documents name, most named first."""
    return await _places(access, page, box)


@router.get("/workspaces/{workspace_id}/documents/{document_id}/places")
async def list_document_places(access: Member, document_id: UUID, page: Page, box: Within) -> Listing[shapes.NamedPlace]:
    """The places that a document names, most named first."""
    return await _places(access, page, box, document_id)


async def _places(
    access: Access, page: Page, box: embed.BoundingBox | None, document_id: UUID | None = None
) -> Listing[shapes.NamedPlace]:
    question = embed.ListPlaces(
        workspace_id=access.workspace_id, document_id=document_id, box=box, limit=page.per_page, offset=page.offset
    )
    found = await access.gateway.broker.requests.ask("rpc.embed.v1.place.list", question, embed.Places, cause=access.cause)
    items = [shapes.NamedPlace.of(named) for named in found.items]
    return Listing(items=items, total=found.total, page=page.page, per_page=page.per_page)

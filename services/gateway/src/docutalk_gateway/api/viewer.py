"""What a viewer shows beside the text: pictures of pages, where a quote stands on them, what a document is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from docutalk_common.contracts.ingest import Boxes, GetBoxes, ListUnits, RenderedPage, RenderPage, Units
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Member

router = APIRouter(tags=["documents"])

# The first look at a large file waits until it has come from the object store.
VIEW_SECONDS = 25.0

PageNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Version = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="A version of the document; else the one that is served")]


@router.get("/workspaces/{workspace_id}/documents/{document_id}/pages/{number}/boxes")
async def get_boxes(
    access: Member,
    document_id: UUID,
    number: PageNumber,
    *,
    start: Annotated[int, Query(ge=0, le=2**31 - 1, description="First character of the quote in the page's text")],
    end: Annotated[int, Query(ge=1, le=2**31 - 1, description="The character after the quote")],
    version: Version = None,
) -> shapes.Boxes:
    """Where a quote stands on a page of a PDF or an image; 404 with `no_boxes` for other formats."""
    question = GetBoxes(
        workspace_id=access.workspace_id, document_id=document_id, version=version, number=number, start=start, end=end
    )
    requests = access.gateway.broker.requests
    found = await requests.ask("rpc.ingest.v1.page.boxes", question, Boxes, cause=access.cause, timeout=VIEW_SECONDS)
    return shapes.Boxes.of(found)


@router.get(
    "/workspaces/{workspace_id}/documents/{document_id}/pages/{number}/image",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "The client has this picture"},
    },
)
async def get_page_image(
    request: Request,
    access: Member,
    document_id: UUID,
    number: PageNumber,
    *,
    width: Annotated[int, Query(ge=64, le=2400, description="In pixels; large pages come smaller")] = 1000,
    version: Version = None,
) -> Response:
    """A picture of a page of a PDF, or of an image; 404 with `no_image` for other formats. Takes `If-None-Match`."""
    gateway = access.gateway
    question = RenderPage(workspace_id=access.workspace_id, document_id=document_id, version=version, number=number, width=width)
    rendered = await gateway.broker.requests.ask(
        "rpc.ingest.v1.page.render", question, RenderedPage, cause=access.cause, timeout=VIEW_SECONDS
    )
    headers = {
        # Its name holds version, page and width, and a version never changes.
        "ETag": f'"{rendered.object_key.rsplit("/", 1)[-1]}"',
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    chunks = gateway.storage.iterate(rendered.object_key)
    # The first bytes before the status line: an absent object store is then still a 503.
    first = await anext(chunks, b"")

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(body(), headers=headers, media_type=rendered.content_type)


@router.get("/workspaces/{workspace_id}/documents/{document_id}/units")
async def get_units(
    access: Member,
    document_id: UUID,
    page: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only those of this page")] = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="The last ordinal of the answer before")] = 0,
    version: Version = None,
) -> shapes.Units:
    """Headings, tables, rows, notes and the like, with their places in the pages' text; at most 1,000 at a time."""
    question = ListUnits(workspace_id=access.workspace_id, document_id=document_id, version=version, number=page, after=after)
    found = await access.gateway.broker.requests.ask("rpc.ingest.v1.unit.list", question, Units, cause=access.cause)
    return shapes.Units.of(found)

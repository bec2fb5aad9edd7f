"""The timeline of a document, and live feeds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any
from uuid import UUID

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Header, Query

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Access, Member
from docutalk_gateway.api.sse import EventStream, ServerEvent, last_event_id
from docutalk_gateway.use_cases.follow_events import TimelineEvent, document_timeline, follow_document, follow_workspace
from docutalk_gateway.use_cases.read_documents import get_document

router = APIRouter(tags=["events"])

TIMELINE_MAX = 1000
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events as they happen"}
}

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="The `id` of the last event that was received")]


async def _known(access: Access, document_id: UUID) -> None:
    """Raises `NotFound` unless the document is, or was, of this workspace. A deleted document keeps its timeline."""
    gateway = access.gateway
    try:
        await get_document(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id)
    except NotFound:
        if not await document_timeline(gateway.broker.nc, access.workspace_id, document_id, after=0, limit=1):
            raise


@router.get("/workspaces/{workspace_id}/documents/{document_id}/events")
async def get_timeline(
    access: Member, document_id: UUID, after: Annotated[int, Query(ge=0, le=2**63 - 1, description="A `sequence`")] = 0
) -> shapes.Listing[shapes.Event]:
    """What happened to a document, oldest first, as long as the log goes back (30 days)."""
    events = await document_timeline(access.gateway.broker.nc, access.workspace_id, document_id, after=after, limit=TIMELINE_MAX)
    if not events:
        await _known(access, document_id)
    items = [shapes.Event.of(event) for event in events]
    return shapes.Listing(items=items, total=len(items), page=1, per_page=TIMELINE_MAX)


@router.get("/workspaces/{workspace_id}/documents/{document_id}/events/stream", response_class=EventStream, responses=_STREAM)
async def stream_document(access: Member, document_id: UUID, last_id: LastEventId = None) -> EventStream:
    """Everything that happens to a document, from its beginning or from after `Last-Event-ID` on."""
    await _known(access, document_id)
    nc = access.gateway.broker.nc
    events = await follow_document(nc, access.workspace_id, document_id, after=last_event_id(last_id))
    return EventStream(_encoded(events), closing=access.gateway.closing, allowed=access.is_still_let_in)


@router.get("/workspaces/{workspace_id}/events/stream", response_class=EventStream, responses=_STREAM)
async def stream_workspace(access: Member, last_id: LastEventId = None) -> EventStream:
    """Everything that happens to the documents and sources of a workspace, from now on or from after `Last-Event-ID` on."""
    events = await follow_workspace(access.gateway.broker.nc, access.workspace_id, after=last_event_id(last_id))
    return EventStream(_encoded(events), closing=access.gateway.closing, allowed=access.is_still_let_in)


async def _encoded(events: AsyncGenerator[TimelineEvent]) -> AsyncGenerator[ServerEvent]:
    try:
        async for event in events:
            yield ServerEvent(event.name, shapes.Event.of(event).model_dump_json().encode(), event.sequence)
    finally:
        await events.aclose()

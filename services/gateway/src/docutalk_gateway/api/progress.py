"""How far a workspace's documents are, asked and told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from docutalk_common.contracts import ingest
from fastapi import APIRouter

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Member
from docutalk_gateway.api.sse import EventStream, ServerEvent
from docutalk_gateway.use_cases.follow_progress import follow_progress, get_progress

router = APIRouter(tags=["events"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "The event `progress` with a `WorkspaceProgress`, now and whenever it changed, at most one a second",
    }
}


@router.get("/workspaces/{workspace_id}/progress")
async def workspace_progress(access: Member) -> shapes.WorkspaceProgress:
    """How far the documents of a workspace are, together."""
    return shapes.WorkspaceProgress.of(await get_progress(access.gateway.broker.requests, access.cause, access.workspace_id))


@router.get("/workspaces/{workspace_id}/progress/stream", response_class=EventStream, responses=_STREAM)
async def stream_progress(access: Member) -> EventStream:
    """The same, now and then whenever it changes. It does not end, and begins anew after a lost connection."""
    gateway = access.gateway
    changes = follow_progress(gateway.broker.nc, gateway.broker.requests, access.cause, access.workspace_id)
    # Before the status line: while ingest is away this is still a 503.
    first = await anext(changes)
    return EventStream(_encoded(first, changes), closing=gateway.closing, allowed=access.is_still_let_in)


async def _encoded(
    first: ingest.WorkspaceProgress, changes: AsyncGenerator[ingest.WorkspaceProgress]
) -> AsyncGenerator[ServerEvent]:
    try:
        told = shapes.WorkspaceProgress.of(first)
        yield ServerEvent("progress", told.model_dump_json().encode())
        async for change in changes:
            shown = shapes.WorkspaceProgress.of(change)
            if shown != told:  # an estimate that moved by less than a second is none
                told = shown
                yield ServerEvent("progress", told.model_dump_json().encode())
    finally:
        await changes.aclose()

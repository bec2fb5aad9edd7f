"""How far a workspace's documents are, told whenever that changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from uuid import UUID

from docutalk_common.contracts.ingest import GetProgress, WorkspaceProgress
from docutalk_common.db import Cause
from docutalk_common.errors import RequestFailed
from docutalk_common.messaging.requests import RequestClient
from nats.aio.client import Client

from docutalk_gateway.adapters.live_feed import watch

# Nobody reads faster, and a thousand uploads are thousands of events.
PAUSE_SECONDS = 1.0
# Estimates move without an event, and the live side may lose one.
IDLE_SECONDS = 10.0


async def get_progress(requests: RequestClient, cause: Cause, workspace_id: UUID) -> WorkspaceProgress:
    """How far they are now. Raises `RequestFailed`."""
    question = GetProgress(workspace_id=workspace_id)
    return await requests.ask("rpc.ingest.v1.progress.get", question, WorkspaceProgress, cause=cause)


async def follow_progress(
    nc: Client,
    requests: RequestClient,
    cause: Cause,
    workspace_id: UUID,
    *,
    pause: float = PAUSE_SECONDS,
    idle: float = IDLE_SECONDS,
) -> AsyncGenerator[WorkspaceProgress]:
    """First how far they are now, then each change, without an end. Asked after an event of the workspace, or else after
    `idle` seconds, but not before `pause` seconds have passed. While ingest is away nothing changes.

    Raises `RequestFailed` when the first answer cannot be had, `DependencyUnavailable("nats")`.
    """
    async with watch(nc, f"evt.*.*.*.*.{workspace_id}.>") as moved:
        told = await get_progress(requests, cause, workspace_id)
        yield told
        while True:
            await asyncio.sleep(pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(idle):
                    await moved.wait()
            moved.clear()
            with contextlib.suppress(RequestFailed):
                found = await get_progress(requests, cause, workspace_id)
                if found != told:
                    told = found
                    yield told

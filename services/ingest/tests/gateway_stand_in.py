"""The gateway, as far as ingest asks it: what workspaces there are, and what they may hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

from docutalk_common.contracts.gateway import GetWorkspace, WorkspaceState
from docutalk_common.db import Cause
from docutalk_common.errors import DependencyUnavailable, NotFound
from docutalk_common.messaging.requests import Answerer
from docutalk_common.testing.conformance import Wire
from docutalk_local.testing import TestStack
from nats.aio.msg import Msg

SUBJECT = "rpc.gateway.v1.workspace.get"


@dataclass
class GatewayStandIn:
    """Every workspace exists and may hold anything, unless `states` says otherwise; None is one that was deleted. Of those in
    `unsaid` it says nothing, as while its database is away."""

    states: dict[UUID, WorkspaceState | None] = field(default_factory=dict)
    unsaid: set[UUID] = field(default_factory=set)
    asked: list[UUID] = field(default_factory=list)

    async def state(self, request: GetWorkspace, _: Cause) -> WorkspaceState:
        """The answer to one request."""
        self.asked.append(request.workspace_id)
        if request.workspace_id in self.unsaid:
            raise DependencyUnavailable("postgres", "the server is starting")
        found = self.states.get(request.workspace_id, WorkspaceState())
        if found is None:
            raise NotFound("There is no such workspace.")
        return found


@contextlib.asynccontextmanager
async def answering(stack: TestStack) -> AsyncIterator[GatewayStandIn]:
    """Answers over the real server, as the gateway does."""
    gateway = GatewayStandIn()
    answerer = Answerer(SUBJECT, gateway.state)
    tasks: set[asyncio.Task[None]] = set()

    async def arrived(message: Msg) -> None:
        task = asyncio.create_task(answerer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    wire = await Wire.connect(stack.nats_operator)
    await wire.nc.subscribe(SUBJECT, cb=arrived)
    await wire.nc.flush()
    try:
        yield gateway
    finally:
        await wire.nc.close()

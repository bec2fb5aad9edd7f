"""`/mcp`: the Model Context Protocol over streamable HTTP, without sessions: each request may go to another gateway."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator

from docutalk_common.process import cancel_all
from docutalk_common.telemetry import get_logger
from fastapi import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from docutalk_gateway.api.context import CALLER, caller_of

log = get_logger(__name__)


class McpEndpoint:
    """Lets in who has an access token or an API key, and hands their requests to the SDK.

    The SDK is loaded with the first of them: it takes 0.35 s of a core and 16 MB, which a gateway without such clients saves.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._wanted = asyncio.Event()
        self._handler: asyncio.Future[ASGIApp] | None = None
        # For POST only: a server without sessions has nothing to say in a GET, whose stream would have no end.
        self.route = Route("/mcp", endpoint=self, methods=["POST"], include_in_schema=False)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Takes requests until the block ends."""
        self._handler = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(self._handler), name="mcp")
        try:
            yield
        finally:
            await cancel_all([running])

    async def _run(self, handler: asyncio.Future[ASGIApp]) -> None:
        """One task from beginning to end, as the SDK's task group wants it."""
        await self._wanted.wait()
        try:
            # In a thread: other requests go on meanwhile.
            tools = await asyncio.to_thread(importlib.import_module, "docutalk_gateway.api.mcp_tools")
            sessions = tools.mcp_sessions(self._version)
            async with sessions.run():
                handler.set_result(sessions.handle_request)
                await asyncio.Event().wait()
        except Exception as error:
            log.exception("MCP is not served")
            if not handler.done():
                handler.set_exception(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request. Raises `NotSignedIn`."""
        scope["route"] = self.route  # for logs and metrics; FastAPI sets it for its own routes only
        scope[CALLER] = await caller_of(Request(scope))
        assert self._handler is not None
        self._wanted.set()
        # Shielded: a client that goes away while it waits must not end the wait of all others.
        handle = await asyncio.shield(self._handler)
        await handle(scope, receive, send)

"""Follows documents until they are ready or not: told by the workspace's event stream, by asking again when there is none."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

from docutalk_cli.client import Api, ClientError, Json, NotReachable, Refused, passes

FINAL = frozenset({"ready", "failed", "cancelled"})
_ENDS = frozenset({f"document.{status}" for status in FINAL} | {"document.deleted"})
# More bars than this nobody follows; of so many documents only the end is looked at.
_WATCHED = 8
_LOOKS_A_SECOND = 10
# A big document reports every batch; more than four looks a second nobody can see.
_SHORTEST_SECONDS = 0.25
# An event may be lost with a connection; without a stream this is all there is.
_LIVE_SECONDS = 15.0
_POLL_SECONDS = 1.0
_FAILURES = 30
_AWAY_SECONDS = 2.0


class Follower:
    """The documents of one workspace. An event only says that something moved: what is shown is always the document itself."""

    def __init__(self, api: Api, workspace: str) -> None:
        self._api = api
        self._workspace = workspace
        self._moved: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._live = False

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Follower]:
        """Listens while the block runs. Start it before the upload, so that nothing happens unheard."""
        listener = asyncio.create_task(self._listen())
        try:
            yield self
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def until_final(self, document: str, on_change: Callable[[Json], None]) -> Json:
        """Calls `on_change` with the document whenever it moved, and returns it once it is ready, failed or cancelled."""
        moved = self._moved[document]
        while True:
            moved.clear()
            found = await self._api.get(f"/workspaces/{self._workspace}/documents/{document}")
            on_change(found)
            if found["status"] in FINAL:
                del self._moved[document]
                return found
            await asyncio.sleep(_SHORTEST_SECONDS)
            # Of a thousand documents each one is looked at less often.
            patience = max(_LIVE_SECONDS if self._live else _POLL_SECONDS, len(self._moved) / _LOOKS_A_SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await moved.wait()

    async def _listen(self) -> None:
        path = f"/workspaces/{self._workspace}/events/stream"
        while True:
            # `follow` gives up in the end; asking goes on, and says by itself when the server is away for good.
            with contextlib.suppress(ClientError):
                async for event in self._api.follow(path):
                    self._live = True
                    if event.name not in _ENDS and len(self._moved) > _WATCHED:
                        continue
                    if (moved := self._moved.get(str(event.data.get("document_id")))) is not None:
                        moved.set()
            self._live = False
            await asyncio.sleep(_POLL_SECONDS)


async def workspace_progress(api: Api, workspace: str, on_change: Callable[[Json], None]) -> None:
    """Calls `on_change` with the progress of the whole workspace, until cancelled; never for a server that does not tell it."""
    while True:
        with contextlib.suppress(ClientError):
            async for event in api.follow(f"/workspaces/{workspace}/progress/stream"):
                on_change(event.data)
        await asyncio.sleep(_LIVE_SECONDS)


async def persistently(look: Callable[[], Awaitable[Json]]) -> Json:
    """What `look` returns, tried again through a minute in which the server is away or busy: what it works on goes on."""
    for _ in range(_FAILURES):
        try:
            return await look()
        except (NotReachable, Refused) as error:
            if not passes(error):
                raise
        await asyncio.sleep(_AWAY_SECONDS)
    return await look()


async def patiently(api: Api, follower: Follower, document: str, on_change: Callable[[Json], None]) -> Json:
    """`until_final`, going on through a minute in which the server is away or busy: documents are safe meanwhile."""
    failures = 0

    def changed(found: Json) -> None:
        nonlocal failures
        failures = 0
        on_change(found)

    while True:
        try:
            return await follower.until_final(document, changed)
        except (NotReachable, Refused) as error:
            failures += 1
            if failures > _FAILURES or not passes(error):
                raise
            await asyncio.sleep(_AWAY_SECONDS)

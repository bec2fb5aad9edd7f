"""Event streams with a client that we play ourselves: one that is idle, one that does not read, one that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from docutalk_common.errors import DependencyUnavailable
from docutalk_gateway.api.sse import EventStream, ServerEvent

SCOPE: dict[str, Any] = {"type": "http", "path": "/stream"}


class Source:
    """Events for a stream, and whether it was closed."""

    def __init__(self, *, endless: bool = False, error: Exception | None = None, count: int = 0) -> None:
        self.endless, self.error, self.count = endless, error, count
        self.taken = 0
        self.closed = False

    async def events(self) -> AsyncGenerator[ServerEvent]:
        try:
            while self.endless or self.taken < self.count:
                self.taken += 1
                yield ServerEvent("tick", b"{}", self.taken)
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed = True


class Client:
    """What a client receives. `stuck` never takes anything after the head."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.received: list[bytes] = []
        self.gone = asyncio.Event()
        self.ended = False

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            if self.stuck:
                await asyncio.Event().wait()
            self.received.append(message["body"])
            self.ended = not message["more_body"]

    async def until(self, count: int) -> None:
        """Waits for so many pieces."""
        async with asyncio.timeout(20):
            while len(self.received) < count:
                await asyncio.sleep(0.01)


async def test_stream_begins_with_when_to_come_back_and_keeps_an_idle_connection_open() -> None:
    client, source, closing = Client(), Source(count=1), asyncio.Event()
    running = asyncio.create_task(
        EventStream(source.events(), closing=closing, keep_alive=0.05)(SCOPE, client.receive, client.send)
    )
    await client.until(4)
    closing.set()
    await asyncio.wait_for(running, 20)
    assert client.received[:3] == [b"retry: 2000\n\n", b"id: 1\nevent: tick\ndata: {}\n\n", b": keep-alive\n\n"]
    assert client.ended
    assert source.closed


async def test_client_that_does_not_read_is_cut_and_nothing_piles_up() -> None:
    client, source = Client(stuck=True), Source(endless=True)
    stream = EventStream(source.events(), closing=asyncio.Event(), patience=0.1)
    await asyncio.wait_for(stream(SCOPE, client.receive, client.send), 20)
    assert source.closed
    assert source.taken <= 2


async def test_stream_ends_when_the_client_leaves() -> None:
    client, source = Client(), Source(count=1)
    running = asyncio.create_task(EventStream(source.events(), closing=asyncio.Event())(SCOPE, client.receive, client.send))
    await client.until(2)
    client.gone.set()
    await asyncio.wait_for(running, 20)
    assert source.closed


async def test_stream_whose_source_fails_ends_so_that_the_client_comes_back() -> None:
    client, source = Client(), Source(count=2, error=DependencyUnavailable("nats", "gone"))
    stream = EventStream(source.events(), closing=asyncio.Event())
    await asyncio.wait_for(stream(SCOPE, client.receive, client.send), 20)
    assert len(client.received) == 4
    assert client.ended


async def test_stream_ends_when_its_client_may_not_have_it_any_more_and_not_while_nobody_can_tell() -> None:
    client, source, asked = Client(), Source(count=1), 0

    async def allowed() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise DependencyUnavailable("postgres", "gone")
        return asked < 4

    stream = EventStream(source.events(), closing=asyncio.Event(), allowed=allowed, look_every=0.01)
    await asyncio.wait_for(stream(SCOPE, client.receive, client.send), 20)
    assert asked == 4
    assert client.ended
    assert source.closed

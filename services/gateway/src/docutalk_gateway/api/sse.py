"""Server-sent events (HTML, section 9.2) over ASGI: keep-alive, an end at shutdown, and no patience with a stuck reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from docutalk_common.errors import DependencyUnavailable, DocuTalkError
from docutalk_common.telemetry import get_logger
from fastapi import Response
from starlette.types import Receive, Scope, Send

log = get_logger(__name__)

KEEP_ALIVE_SECONDS = 15.0
SEND_SECONDS = 30.0
RETRY_MILLISECONDS = 2000
# How often it is asked whether the client still may: what they may not see any more, they see for no longer than this.
LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class ServerEvent:
    """`data` is JSON in one line. `id` is what the client sends back as `Last-Event-ID`. Without a name it is a `message`."""

    event: str | None
    data: bytes
    id: int | None = None

    def encode(self) -> bytes:
        """As it goes over the wire."""
        head = b"" if self.id is None else b"id: %d\n" % self.id
        name = b"" if self.event is None else b"event: " + self.event.encode() + b"\n"
        return head + name + b"data: " + self.data + b"\n\n"


def last_event_id(value: str | None) -> int | None:
    """The sequence in a `Last-Event-ID`, None when there is none or it is not one of ours."""
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 19 else None


class EventStream(Response):
    """Sends events until they end, the client goes or may not have them any more, or the process stops. Nothing queues here: one
    event at a time is taken from the source, which alone decides how much it holds. A client that takes nothing for 30 s is
    cut."""

    media_type = "text/event-stream"
    greeting = b"retry: %d\n\n" % RETRY_MILLISECONDS
    farewell = b""
    """Sent when the process stops before the events end: by itself a client of these streams comes back for the rest."""

    def __init__(
        self,
        events: AsyncGenerator[ServerEvent],
        status_code: int = 200,
        *,
        closing: asyncio.Event,
        allowed: Callable[[], Awaitable[bool]] | None = None,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        patience: float = SEND_SECONDS,
        look_every: float = LOOK_SECONDS,
    ) -> None:
        """`allowed` is asked every `look_every` seconds; what else waits, waits for `keep_alive` and `patience` seconds."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(status_code=status_code, headers=headers, media_type=self.media_type)
        del self.headers["content-length"]
        self._events = events
        self._closing = closing
        self._allowed = allowed
        self._look_every = look_every
        self._keep_alive = keep_alive
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the stream."""

        async def write(data: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.body", "body": data, "more_body": more})

        gone = asyncio.create_task(disconnected(receive))
        closing = asyncio.create_task(self._closing.wait())
        shut_out = asyncio.create_task(self._shut_out())
        async with contextlib.aclosing(self._events) as events:
            following: asyncio.Task[ServerEvent] = asyncio.ensure_future(anext(events))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await write(self.greeting)
                while True:
                    done, _ = await asyncio.wait(
                        {following, gone, closing, shut_out}, timeout=self._keep_alive, return_when=asyncio.FIRST_COMPLETED
                    )
                    if gone in done or shut_out in done:
                        break
                    if following in done:
                        event = following.result()
                        following = asyncio.ensure_future(anext(events))
                        await write(event.encode())
                    elif done:
                        await write(self.farewell)
                        break
                    else:
                        await write(b": keep-alive\n\n")
            except StopAsyncIteration:
                pass
            except TimeoutError:
                log.warning("a client that does not read its event stream is cut", path=scope["path"])
                return
            except DocuTalkError as error:
                # The client connects again by itself and goes on after the last event that it got.
                log.warning("an event stream ended early", path=scope["path"], reason=str(error))
            finally:
                await _end(following, gone, closing, shut_out)
            await write(b"", more=False)

    async def _shut_out(self) -> None:
        """Returns when the client may not have the rest. It comes again by itself, and is then told why not."""
        while True:
            await asyncio.sleep(self._look_every)
            # While the database is away nobody can take anything away from anybody either.
            with contextlib.suppress(DependencyUnavailable):
                if self._allowed is not None and not await self._allowed():
                    return


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels, and again where that was lost: in Python 3.11 `wait_for`, which the NATS client uses, drops a cancellation
    that comes in the same turn of the loop as the result."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.5)
    await asyncio.gather(*tasks, return_exceptions=True)


async def disconnected(receive: Receive) -> None:
    """Waits until the client is gone. The request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass

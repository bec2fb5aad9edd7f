"""Following a subject of a stream: first what is stored, then what comes, each message once and in order.

The live side is a plain subscription to what the stream republishes, so it costs the server no consumer. It may lose
messages (a reconnect, a reader that is too slow); the log never does, so whatever the live side may have lost is read there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Literal

from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging import event_log
from docutalk_common.messaging.event_log import Stored
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from pydantic_core import to_json

BUFFER = 256
LOOK_SECONDS = 1.0


async def last_sequence(nc: Client, stream: str, subject_filter: str) -> int:
    """The sequence of the newest stored message that matches, 0 when there is none. Raises `DependencyUnavailable("nats")`."""
    try:
        reply = await nc.request(f"$JS.API.DIRECT.GET.{stream}", to_json({"last_by_subj": subject_filter}), timeout=5)
    except NoRespondersError:
        raise DependencyUnavailable("nats", f"the stream {stream} is not there") from None
    except (TimeoutError, NatsError, OSError) as error:
        raise DependencyUnavailable("nats", f"{stream} did not answer: {error}") from error
    return int((reply.headers or {}).get("Nats-Sequence", 0))


class _Buffer:
    """What arrived live and was not read yet. When it is full it is emptied: the log has it all."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Stored] = asyncio.Queue(maxsize=BUFFER)
        self.overflowed = False

    async def put(self, message: Msg) -> None:
        """Called by the subscription for each message."""
        try:
            self._queue.put_nowait(_stored(message))
        except asyncio.QueueFull:
            self.overflowed = True
            while not self._queue.empty():
                self._queue.get_nowait()

    async def get(self, seconds: float) -> Stored | None:
        """The next message, None when none came in time."""
        if not self._queue.empty():
            return self._queue.get_nowait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        return None


def _stored(message: Msg) -> Stored:
    headers = message.headers or {}
    stamp = headers.get("Nats-Time-Stamp")
    time = datetime.fromisoformat(stamp[:19]).replace(tzinfo=UTC) if stamp else datetime.now(UTC)
    return Stored(int(headers["Nats-Sequence"]), message.subject.removeprefix("live."), time, message.data)


async def follow(
    nc: Client,
    stream: str,
    subject_filter: str,
    *,
    after: int | None,
    when_ahead: Literal["clamp", "restart"] = "clamp",
    idle: float | None = None,
) -> AsyncGenerator[Stored | None]:
    """Messages above the sequence `after`; None means from now on. With `idle`, yields None when nothing came for so long.

    `when_ahead` says what to do when `after` is above everything stored: it is an invention (`clamp` it), or the stream lives
    in memory and began again with a restart of the server (`restart`). Raises `DependencyUnavailable("nats")`.
    """
    buffer = _Buffer()
    try:
        subscription = await nc.subscribe(f"live.{subject_filter}", cb=buffer.put)
    except (NatsError, OSError) as error:
        raise DependencyUnavailable("nats", str(error)) from error
    try:
        last = await begin(nc, stream, subject_filter, after, when_ahead)
        reconnects = -1 if after is not None else nc.stats["reconnects"]
        while True:
            if buffer.overflowed or nc.stats["reconnects"] != reconnects:
                buffer.overflowed, reconnects = False, nc.stats["reconnects"]
                if when_ahead == "restart":
                    last = await begin(nc, stream, subject_filter, last, when_ahead)
                async for stored in event_log.read_all(nc, stream, subject_filter, after=last):
                    last = stored.sequence
                    yield stored
            arrived = await buffer.get(LOOK_SECONDS if idle is None else idle)
            if buffer.overflowed or nc.stats["reconnects"] != reconnects:
                continue  # what arrived may have lost predecessors; the log has them all
            if arrived is not None and arrived.sequence > last:
                last = arrived.sequence
                yield arrived
            elif arrived is None and idle is not None:
                yield None
    finally:
        with contextlib.suppress(NatsError, OSError):
            await subscription.unsubscribe()


@contextlib.asynccontextmanager
async def watch(nc: Client, subject_filter: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever a message matches, for who asks again then and does not need the message. A few may be
    missed, after a reconnect. Raises `DependencyUnavailable("nats")`."""
    moved = asyncio.Event()

    async def on_message(_message: Msg) -> None:
        moved.set()

    try:
        subscription = await nc.subscribe(f"live.{subject_filter}", cb=on_message)
    except (NatsError, OSError) as error:
        raise DependencyUnavailable("nats", str(error)) from error
    try:
        yield moved
    finally:
        with contextlib.suppress(NatsError, OSError):
            await subscription.unsubscribe()


async def begin(nc: Client, stream: str, subject_filter: str, after: int | None, when_ahead: str = "clamp") -> int:
    """The sequence after which `follow` begins: that of now for None. Ask before telling a client that it listens: what
    happens between the two would else be taken for the past."""
    if after == 0:
        return 0
    newest = await last_sequence(nc, stream, subject_filter)
    if after is None:
        return newest
    if after <= newest:
        return after
    return 0 if when_ahead == "restart" else newest

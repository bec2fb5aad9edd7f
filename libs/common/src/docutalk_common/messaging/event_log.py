"""Reading a stream by subject filter and sequence, without a consumer: JetStream's direct get in batches.

Services may not create consumers, and a timeline or a resumed feed needs none: the server sends up to `batch` stored
messages from a sequence on, and then an end mark that tells whether more follow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic_core import to_json

from docutalk_common.errors import DependencyUnavailable

_END = "204"
_NOT_FOUND = "404"
# Without a bound of ours the server sends up to its `max_pending` (64 MiB) at once, and a client that has not read that
# much yet is then cut off as a slow consumer.
_BATCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Stored:
    """A message as the stream holds it."""

    sequence: int
    subject: str
    time: datetime
    data: bytes


async def read(
    nc: Client, stream: str, subject_filter: str, *, after: int = 0, limit: int = 1000, timeout: float = 5.0
) -> list[Stored]:
    """Up to `limit` messages that match the filter with a sequence above `after`, in order.

    Raises `DependencyUnavailable("nats")` when the server does not answer in time.
    """
    found: list[Stored] = []
    more = True
    while more and len(found) < limit:
        batch, more = await _batch(nc, stream, subject_filter, after=after, limit=limit - len(found), timeout=timeout)
        found += batch
        after = batch[-1].sequence if batch else after
    return found


async def _batch(
    nc: Client, stream: str, subject_filter: str, *, after: int, limit: int, timeout: float
) -> tuple[list[Stored], bool]:
    """What one question brings, and whether more may follow: the server ends a batch early at `_BATCH_BYTES`."""
    inbox = nc.new_inbox()
    replies: asyncio.Queue[Msg] = asyncio.Queue()

    async def arrived(message: Msg) -> None:
        replies.put_nowait(message)

    subscription = await nc.subscribe(inbox, cb=arrived)
    question = {"seq": after + 1, "next_by_subj": subject_filter, "batch": limit, "max_bytes": _BATCH_BYTES}
    found: list[Stored] = []
    deadline = time.monotonic() + timeout
    try:
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", to_json(question), reply=inbox)
        while len(found) < limit:
            message = await asyncio.wait_for(replies.get(), deadline - time.monotonic())
            headers = message.headers or {}
            status = headers.get("Status")
            if status in {_END, _NOT_FOUND}:
                return found, bool(found) and int(headers.get("Nats-Num-Pending", 0)) > 0
            if status is not None:
                raise DependencyUnavailable("nats", f"reading {stream} failed: {status} {headers.get('Description', '')}")
            found.append(_stored(message, headers))
    except TimeoutError as error:
        raise DependencyUnavailable("nats", f"{stream} did not answer within {timeout:g} s") from error
    finally:
        await subscription.unsubscribe()
    return found, True


async def read_all(nc: Client, stream: str, subject_filter: str, *, after: int = 0) -> AsyncIterator[Stored]:
    """Every matching message above `after`, a thousand at a time, or fewer where they are large."""
    more = True
    while more:
        batch, more = await _batch(nc, stream, subject_filter, after=after, limit=1000, timeout=5.0)
        for stored in batch:
            after = stored.sequence
            yield stored


def _stored(message: Msg, headers: dict[str, str]) -> Stored:
    stamp = headers["Nats-Time-Stamp"]
    # Nanoseconds and a Z; Python reads microseconds.
    seconds, _, fraction = stamp.rstrip("Z").partition(".")
    time_utc = datetime.fromisoformat(f"{seconds}.{fraction[:6].ljust(6, '0')}").replace(tzinfo=UTC)
    return Stored(int(headers["Nats-Sequence"]), headers["Nats-Subject"], time_utc, message.data)

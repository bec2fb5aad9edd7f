"""What consumers gave up on, newest first, read from the stream itself."""

from __future__ import annotations

from dataclasses import dataclass

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.errors import DependencyUnavailable, NotFound
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import DEAD_LETTERS
from nats.aio.client import Client
from nats.errors import Error as NatsError
from pydantic_core import to_json

from docutalk_gateway.adapters.live_feed import last_sequence

ALL = "dlq.>"
WINDOW = 200


@dataclass(frozen=True)
class DeadLetterEntry:
    """A dead letter with its place in the stream."""

    sequence: int
    letter: DeadLetter


async def list_dead_letters(nc: Client, *, offset: int, limit: int) -> tuple[list[DeadLetterEntry], int]:
    """A page, newest first, and how many there are. Raises `DependencyUnavailable("nats")`.

    The server reads forward only, so windows of sequences are read from the end back. Dropped letters leave holes.
    """
    total = await _count(nc)
    found: list[DeadLetterEntry] = []
    passed = 0
    end = await last_sequence(nc, DEAD_LETTERS, ALL)
    while end > 0 and len(found) < limit:
        start = max(0, end - WINDOW)
        window = await event_log.read(nc, DEAD_LETTERS, ALL, after=start, limit=end - start)
        newest_first = [item for item in reversed(window) if item.sequence <= end]
        # Letters hold whole messages: only those of the page are kept.
        found += [
            DeadLetterEntry(item.sequence, DeadLetter.model_validate_json(item.data))
            for item in newest_first[max(0, offset - passed) :]
        ]
        passed += len(newest_first)
        end = start
    return found[:limit], total


async def get_dead_letter(nc: Client, sequence: int) -> DeadLetterEntry:
    """One dead letter. Raises `NotFound`, `DependencyUnavailable("nats")`."""
    found = await event_log.read(nc, DEAD_LETTERS, ALL, after=sequence - 1, limit=1)
    if not found or found[0].sequence != sequence:
        raise NotFound("There is no such dead letter.")
    return DeadLetterEntry(sequence, DeadLetter.model_validate_json(found[0].data))


async def _count(nc: Client) -> int:
    """The first message of a batch tells how many follow it."""
    question = {"seq": 1, "next_by_subj": ALL, "batch": 1}
    try:
        reply = await nc.request(f"$JS.API.DIRECT.GET.{DEAD_LETTERS}", to_json(question), timeout=5)
    except (TimeoutError, NatsError, OSError) as error:
        raise DependencyUnavailable("nats", f"{DEAD_LETTERS} did not answer: {error}") from error
    headers = reply.headers or {}
    return 1 + int(headers.get("Nats-Num-Pending", 0)) if "Nats-Sequence" in headers else 0

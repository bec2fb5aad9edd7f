"""The message server's clock: it publishes a message at a time that was asked for.

Measured on nats-server 2.15.1: a schedule is a message under a subject of its own, and the next one there replaces it. `@at` a
time that is past fires at once, also when the server was down then, and is gone afterwards. `@every` and cron (six fields) leave
out what they missed while the server was down, and a cron's time zone is looked up on the server's machine: the usual images
have none and refuse it. So each run is an `@at` of its own, whose time is computed here. A message that names a schedule and says
that it is to be purged takes it away, and is stored itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.contracts.envelope import Envelope, uuid7
from docutalk_common.contracts.ingest import SourceDue
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging.streams import SCHEDULES
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

CANCELLED = "sch.ingest.cancelled"
"""Holds the last message that took a schedule away, and then one that names none."""


class Schedules:
    """Sets the clock. One time for each source: a later one takes the place of the one before."""

    def __init__(self, js: Callable[[], JetStreamContext]) -> None:
        self._js = js

    async def set(self, workspace_id: UUID, source_id: UUID, at: datetime) -> None:
        """Asks for `SourceDue` at a time; one that is past is now. Raises `DependencyUnavailable("nats")`."""
        due = SourceDue(workspace_id=workspace_id, source_id=source_id, due_at=at)
        envelope = Envelope(
            type=due.type,
            source=due.owner,
            subject=due.subject(),
            workspace_id=workspace_id,
            correlation_id=uuid7(),
            data=due.model_dump(mode="json"),
        )
        headers = {
            "Nats-Schedule": f"@at {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "Nats-Schedule-Target": due.subject(),
            # The stream keeps one firing for each source; more of them would only say the same.
            "Nats-Schedule-Rollup": "sub",
        }
        await self._publish(_subject(due), envelope.model_dump_json().encode(), headers)

    async def cancel(self, workspace_id: UUID, source_ids: Sequence[UUID]) -> None:
        """Takes away what was set for these sources; where nothing was, nothing is. Raises `DependencyUnavailable("nats")`."""
        if not source_ids:
            return
        for source_id in source_ids:
            schedule = _subject(SourceDue(workspace_id=workspace_id, source_id=source_id))
            headers = {"Nats-Scheduler": schedule, "Nats-Schedule-Next": "purge", "Nats-Rollup": "sub"}
            await self._publish(CANCELLED, b"", headers)
        await self._publish(CANCELLED, b"", {"Nats-Rollup": "sub"})

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        try:
            await self._js().publish(subject, payload, timeout=5, stream=SCHEDULES, headers=headers)
        except (TimeoutError, NatsError, OSError) as error:
            raise DependencyUnavailable("nats", f"a source could not be scheduled: {type(error).__name__}: {error}") from error


def _subject(due: SourceDue) -> str:
    return f"sch.{due.subject().partition('.')[2]}"

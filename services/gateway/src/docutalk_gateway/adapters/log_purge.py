"""Takes out of the log what was said of a workspace, or by a person, who are gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from docutalk_common.errors import DependencyUnavailable, PermanentError
from docutalk_common.messaging.streams import DEAD_LETTERS, EVENTS, SCHEDULES, TOKENS, WORK
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

_STREAMS: Mapping[str, str] = {
    "evt": EVENTS,
    "work": WORK,
    "sch": SCHEDULES,
    "due": SCHEDULES,
    "tok": TOKENS,
    "dlq": DEAD_LETTERS,
}
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Events of one kind about one thing, in any workspace or in one.
_EVENTS_ABOUT_ONE = re.compile(rf"evt\.[a-z]+\.v[0-9]+\.[a-z]+\.[a-z]+\.(\*|{_UUID})\.{_UUID}")
AT_ONCE = 16
"""Questions to the server that wait for its answer."""


class LogPurge:
    """Purges by subject. Done again, it finds nothing. Raises `DependencyUnavailable("nats")`."""

    def __init__(self, js: Callable[[], JetStreamContext]) -> None:
        self._js = js

    async def workspace(self, workspace_id: UUID) -> None:
        """All that was said of a workspace: events, work, schedules, pieces of answers, dead letters."""
        await self._purge(
            [
                f"evt.*.*.*.*.{workspace_id}.>",
                f"work.*.*.*.*.{workspace_id}",
                f"sch.*.*.*.*.{workspace_id}.>",
                f"due.*.*.*.*.{workspace_id}.>",
                f"tok.{workspace_id}.>",
                f"dlq.*.*.{workspace_id}.*",
            ]
        )

    async def entity(self, entity_id: UUID) -> None:
        """Every event that is about this one, also one that was given up on."""
        await self._purge([f"evt.*.*.*.*.*.{entity_id}", f"dlq.*.*.*.{entity_id}"])

    async def question(self, workspace_id: UUID, message_id: UUID, answer_id: UUID) -> None:
        """A question's words, also when it was given up on, what became of its answer, and the pieces of that."""
        await self._purge(
            [
                f"evt.*.*.*.*.{workspace_id}.{message_id}",
                f"evt.*.*.*.*.{workspace_id}.{answer_id}",
                f"dlq.*.*.{workspace_id}.{message_id}",
                f"tok.{workspace_id}.{answer_id}",
            ]
        )

    async def events(self, subjects: Sequence[str]) -> None:
        """What another service names, also where it was given up on. Raises `PermanentError` for a subject that would take more
        than the events of one kind about one thing: this is the only service that may purge, and does not do it for whoever
        asks."""
        for subject in subjects:
            if not _EVENTS_ABOUT_ONE.fullmatch(subject):
                raise PermanentError(f"{subject[:200]} is no subject of events about one thing: it is not purged")
        both = [one for subject in subjects for one in (subject, _dead_letters(subject))]
        for first in range(0, len(both), AT_ONCE):
            await self._purge(both[first : first + AT_ONCE])

    async def _purge(self, subjects: Sequence[str]) -> None:
        js = self._js()
        try:
            await asyncio.gather(*(js.purge_stream(_STREAMS[subject.partition(".")[0]], subject=subject) for subject in subjects))
        except (TimeoutError, NatsError, OSError) as error:
            raise DependencyUnavailable("nats", f"the log could not be purged: {type(error).__name__}: {error}") from error


def _dead_letters(subject: str) -> str:
    *_, workspace, entity = subject.split(".")
    return f"dlq.*.*.{workspace}.{entity}"

"""The timeline of a document and the live feed of a workspace, both filters on the log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.envelope import Envelope
from docutalk_common.messaging import event_log
from docutalk_common.messaging.event_log import Stored
from docutalk_common.messaging.streams import EVENTS
from nats.aio.client import Client

from docutalk_gateway.adapters.live_feed import begin, follow

# What is about documents, their sources, and the model that finds them. Messages and answers are left out: a conversation
# belongs to one person, not to the workspace.
_ENTITIES = frozenset({"document", "progress", "chunks", "source", "model"})
# Where objects lie is nobody's business outside.
_HIDDEN = frozenset({"object_key", "object_keys", "workspace_id"})


@dataclass(frozen=True)
class TimelineEvent:
    """An event for people. `name` is `<entity>.<verb>`, `sequence` its place in the log."""

    sequence: int
    name: str
    envelope: Envelope

    @property
    def data(self) -> dict[str, object]:
        """The event's own fields, without what is internal."""
        return {key: value for key, value in self.envelope.data.items() if key not in _HIDDEN}


def _event(stored: Stored) -> TimelineEvent | None:
    _, _, _, entity, verb, *_ = stored.subject.split(".")
    if entity not in _ENTITIES:
        return None
    return TimelineEvent(stored.sequence, f"{entity}.{verb}", Envelope.model_validate_json(stored.data))


async def document_timeline(nc: Client, workspace_id: UUID, document_id: UUID, *, after: int, limit: int) -> list[TimelineEvent]:
    """The steps of a document, oldest first. Counting events (`progress`, `chunks`) are not part of it."""
    subject = f"evt.*.*.document.*.{workspace_id}.{document_id}"
    stored = await event_log.read(nc, EVENTS, subject, after=after, limit=limit)
    return [event for item in stored if (event := _event(item)) is not None]


async def follow_document(
    nc: Client, workspace_id: UUID, document_id: UUID, *, after: int | None
) -> AsyncGenerator[TimelineEvent]:
    """Everything about a document: from its beginning, or from after the sequence `after`. Where it begins is settled when
    this returns: what happens from then on is told, however late the reading begins."""
    return await _following(nc, f"evt.*.*.*.*.{workspace_id}.{document_id}", after or 0)


async def follow_workspace(nc: Client, workspace_id: UUID, *, after: int | None) -> AsyncGenerator[TimelineEvent]:
    """Everything about the documents and sources of a workspace, and from when on another model finds them: from now on, which
    is when this returns, or from after the sequence `after`."""
    return await _following(nc, f"evt.*.*.*.*.{workspace_id}.>", after)


async def _following(nc: Client, subject: str, after: int | None) -> AsyncGenerator[TimelineEvent]:
    return _events(follow(nc, EVENTS, subject, after=await begin(nc, EVENTS, subject, after)))


async def _events(messages: AsyncGenerator[Stored | None]) -> AsyncGenerator[TimelineEvent]:
    async with contextlib.aclosing(messages):
        async for stored in messages:
            if stored is not None and (event := _event(stored)) is not None:
                yield event

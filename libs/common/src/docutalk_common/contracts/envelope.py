"""The envelope around every event and work message, with CloudEvents' attribute names (CloudEvents 1.0)."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

MessageKind = Literal["event", "work", "due"]
"""A past fact, a piece of work, or the server's clock saying that something is to be done."""


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, version 7): 48 bits of Unix milliseconds, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


class Contract(BaseModel):
    """Anything that crosses a service boundary. Unknown fields are ignored, so that a producer may move first."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Message(Contract):
    """A payload with an address. `subject_template` has the placeholders `{workspace_id}` and, for events, `{entity_id}`."""

    type: ClassVar[str]
    """`<owner>.<entity>.<verb>.v<N>`, the CloudEvents type and the key of the golden file."""
    kind: ClassVar[MessageKind]
    owner: ClassVar[str]
    """For an event the service that emits it, for work the service that does it."""

    workspace_id: UUID

    @property
    def entity_id(self) -> UUID:
        """The id that ends an event's subject; what a timeline filters on."""
        raise TypeError(f"{type(self).__name__} has no entity id")

    @classmethod
    def subject_filter(cls) -> str:
        """The NATS filter that matches every message of this type."""
        owner, entity, verb, version = cls.type.split(".")
        if cls.kind == "work":
            return f"work.{owner}.{version}.{entity}.{verb}.*"
        return f"{'evt' if cls.kind == 'event' else 'due'}.{owner}.{version}.{entity}.{verb}.*.*"

    def subject(self) -> str:
        """The subject this message is published under."""
        base = self.subject_filter().rstrip("*.")
        if self.kind == "work":
            return f"{base}.{self.workspace_id}"
        return f"{base}.{self.workspace_id}.{self.entity_id}"


class Envelope(Contract):
    """What is on the wire, as JSON. `data` is validated by the consumer against its own version of the contract."""

    specversion: str = "1.0"
    id: UUID = Field(default_factory=uuid7)
    type: str
    source: str
    subject: str
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    workspace_id: UUID
    correlation_id: UUID
    causation_id: UUID | None = None
    actor: str | None = None
    data: dict[str, object]


class DocumentEvent(Message):
    """An event about one version of one document. A consumer ignores it when it has seen a later version."""

    kind: ClassVar[MessageKind] = "event"
    document_id: UUID
    version: int = 1

    @property
    def entity_id(self) -> UUID:
        return self.document_id


class ErasureReceipt(Message):
    """What a service removed of a deleted workspace or user: `removed` counts by kind, as in `{"documents": 3, "objects": 9}`.

    `subjects` are filters of the log under which messages hold the person's own words, to be purged. A receipt that is too long
    for one message comes as several, `part` 1 to `parts`; each counts what only it tells of.
    """

    kind: ClassVar[MessageKind] = "event"
    erasure_id: UUID
    removed: dict[str, int]
    subjects: list[str] = []
    part: int = 1
    parts: int = 1

    @property
    def entity_id(self) -> UUID:
        return self.erasure_id

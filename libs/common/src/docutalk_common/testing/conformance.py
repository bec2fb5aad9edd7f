"""What every consumer must do with a message, whatever it is for. A test class inherits this and says what its own is.

The service runs in the test's process on the real servers. Effects are compared as snapshots that the subclass takes.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from sqlalchemy import select

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope, Message, uuid7
from docutalk_common.db import Database, inbox
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import DEAD_LETTERS, STREAMS, Durable, durable
from docutalk_common.process import wait_until
from docutalk_common.testing.settled import is_settled

SECONDS = 60.0


class Stack(Protocol):
    """The part of the root `stack` fixture that is needed here."""

    @property
    def nats_operator(self) -> dict[str, str]: ...


@dataclass
class Wire:
    """Puts messages on the real server with all rights, and looks at what became of them."""

    nc: Client
    js: JetStreamContext

    @classmethod
    async def connect(cls, operator: Mapping[str, Any]) -> Wire:
        """A connection of the operator."""
        nc = await nats.connect(**operator)
        return cls(nc, nc.jetstream(timeout=5))

    async def clear(self) -> None:
        """Empties every stream, so that a consumer under test starts with nothing of earlier tests."""
        for stream in STREAMS:
            await self.js.purge_stream(stream.name or "")

    async def send(self, envelope: Envelope) -> None:
        """Publishes an envelope, past the server's own deduplication."""
        await self.send_raw(envelope.subject, envelope.model_dump_json().encode())

    async def send_raw(self, subject: str, data: bytes) -> None:
        """Publishes bytes."""
        stream = {"evt": "EVENTS", "work": "WORK", "dlq": "DEAD_LETTERS", "due": "SCHEDULES"}[subject.partition(".")[0]]
        await self.js.publish(subject, data, stream=stream, headers={"Nats-Msg-Id": str(uuid7())})

    async def settled(self, entry: Durable) -> bool:
        """Whether nothing waits for this durable and nothing is being worked on."""
        return await is_settled(self.js, entry)

    async def dead_letters(self, entry: Durable) -> list[DeadLetter]:
        """What the durable has given up on."""
        subject = f"dlq.{entry.service}.{entry.name}.>"
        return [DeadLetter.model_validate_json(item.data) for item in await event_log.read(self.nc, DEAD_LETTERS, subject)]


def envelope_for(message: Message) -> Envelope:
    """The envelope as the outbox would write it."""
    return Envelope(
        type=message.type,
        source=message.owner,
        subject=message.subject(),
        workspace_id=message.workspace_id,
        correlation_id=uuid7(),
        data=message.model_dump(mode="json"),
    )


class ConsumerConformance(ABC):
    """Inherit in a test module, set `durable`, and implement the three methods."""

    durable: ClassVar[str]

    @abstractmethod
    def running(self, stack: Any) -> AbstractAsyncContextManager[Database]:
        """Starts the service in this process; yields its database; stops it at the end."""

    @abstractmethod
    async def arrange(self, db: Database) -> Message:
        """Prepares the state that the message presumes, and returns a valid message that has not been sent."""

    @abstractmethod
    async def effect(self, db: Database, message: Message) -> Any:
        """A comparable picture of the state this message is about: rows and counts, no clock times."""

    @pytest.fixture
    async def wire(self, stack: Stack) -> AsyncIterator[Wire]:
        """The operator's connection, with empty streams."""
        wire = await Wire.connect(stack.nats_operator)
        await wire.clear()
        yield wire
        await wire.nc.close()

    @pytest.fixture
    async def db(self, stack: Stack, wire: Wire) -> AsyncIterator[Database]:
        """The service's database, with the service running."""
        async with self.running(stack) as db:
            yield db

    @property
    def entry(self) -> Durable:
        """The durable's row in the table."""
        return durable(self.durable)

    async def handled(self, db: Database, wire: Wire, envelope: Envelope) -> None:
        """Waits until the message is in the inbox and nothing is left on the durable."""

        async def done() -> bool:
            async with db.read() as session:
                found = await session.scalar(
                    select(inbox.c.message_id).where(inbox.c.consumer == self.durable, inbox.c.message_id == str(envelope.id))
                )
            return found is not None and await wire.settled(self.entry)

        await wait_until(done, seconds=SECONDS, what=f"{self.durable} handles {envelope.id}")

    async def test_message_is_handled_and_acknowledged(self, db: Database, wire: Wire) -> None:
        message = await self.arrange(db)
        before = await self.effect(db, message)
        envelope = envelope_for(message)
        await wire.send(envelope)
        await self.handled(db, wire, envelope)
        assert await self.effect(db, message) != before, "the message had no effect that `effect` can see"
        assert await wire.dead_letters(self.entry) == []

    async def test_message_sent_twice_changes_nothing_the_second_time(self, db: Database, wire: Wire) -> None:
        message = await self.arrange(db)
        envelope = envelope_for(message)
        await wire.send(envelope)
        await self.handled(db, wire, envelope)
        once = await self.effect(db, message)
        await wire.send(envelope)
        await self.handled(db, wire, envelope)
        assert await self.effect(db, message) == once

    async def test_same_message_under_a_new_id_changes_nothing(self, db: Database, wire: Wire) -> None:
        """A relay that crashed between publishing and deleting, long after the server forgot the id; or a redrive."""
        message = await self.arrange(db)
        first, second = envelope_for(message), envelope_for(message)
        await wire.send(first)
        await self.handled(db, wire, first)
        once = await self.effect(db, message)
        await wire.send(second)
        await self.handled(db, wire, second)
        assert await self.effect(db, message) == once

    async def test_unknown_fields_are_ignored(self, db: Database, wire: Wire) -> None:
        message = await self.arrange(db)
        body = json.loads(envelope_for(message).model_dump_json())
        body["from_the_future"] = {"a": 1}
        body["data"]["from_the_future"] = [1, 2]
        envelope = Envelope.model_validate(body)
        await wire.send_raw(envelope.subject, json.dumps(body).encode())
        await self.handled(db, wire, envelope)
        assert await wire.dead_letters(self.entry) == []

    @pytest.mark.parametrize("garbage", [b"", b"\xff\x00 not json", b"[]", b'{"specversion": "1.0"}'])
    async def test_poison_becomes_a_dead_letter_and_the_next_message_is_handled(
        self, db: Database, wire: Wire, garbage: bytes
    ) -> None:
        message = await self.arrange(db)
        envelope = envelope_for(message)
        await wire.send_raw(envelope.subject, garbage)
        await wire.send(envelope)
        await self.handled(db, wire, envelope)
        letters = await wire.dead_letters(self.entry)
        assert [letter.code for letter in letters] == ["undecodable"]
        assert letters[0].body() == garbage
        assert letters[0].subject == envelope.subject

    async def test_payload_of_another_shape_becomes_a_dead_letter(self, db: Database, wire: Wire) -> None:
        message = await self.arrange(db)
        body = json.loads(envelope_for(message).model_dump_json())
        body["data"] = {"nothing": "of the kind"}
        await wire.send_raw(envelope_for(message).subject, json.dumps(body).encode())

        async def buried() -> bool:
            return bool(await wire.dead_letters(self.entry)) and await wire.settled(self.entry)

        await wait_until(buried, seconds=SECONDS, what="the message becomes a dead letter")
        assert [letter.code for letter in await wire.dead_letters(self.entry)] == ["undecodable"]

    async def test_message_given_back_by_a_dying_worker_is_handled(self, stack: Any, wire: Wire) -> None:
        """Delivered once to a worker that dies before its ack; the next worker gets it."""
        async with self.running(stack) as db:
            message = await self.arrange(db)
            before = await self.effect(db, message)
        envelope = envelope_for(message)
        await wire.send(envelope)
        lost = await wire.js.pull_subscribe_bind(durable=self.durable, stream=self.entry.stream)
        taken = (await lost.fetch(1, timeout=5))[0]
        await taken.nak()
        await lost.unsubscribe()
        async with self.running(stack) as db:
            await self.handled(db, wire, envelope)
            assert await self.effect(db, message) != before


class VersionedConsumerConformance(ConsumerConformance):
    """For messages about a version of a document."""

    @abstractmethod
    async def stale(self, db: Database) -> tuple[Message, Message]:
        """Prepares a document at version 2; returns a message about version 1 and one to take `effect` of."""

    async def test_message_about_an_older_version_changes_nothing(self, db: Database, wire: Wire) -> None:
        old, subject = await self.stale(db)
        before = await self.effect(db, subject)
        envelope = envelope_for(old)
        await wire.send(envelope)
        await self.handled(db, wire, envelope)
        assert await self.effect(db, subject) == before

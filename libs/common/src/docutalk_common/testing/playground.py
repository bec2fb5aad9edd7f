"""A place on the real servers for tests and benchmarks of the messaging itself: a schema, durables and messages of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from uuid import UUID, uuid4

import asyncpg
import nats
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from sqlalchemy import func, select
from sqlalchemy.schema import CreateTable

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope, Message, uuid7
from docutalk_common.db import Cause, Database, inbox, messaging_metadata, outbox
from docutalk_common.messaging import event_log
from docutalk_common.messaging.consumer import RETRY_DELAYS, ConsumerMiddleware, Handler
from docutalk_common.messaging.streams import DEAD_LETTERS, EVENTS, Durable
from docutalk_common.process import cancel_all, wait_until
from docutalk_common.provisioning import with_login
from docutalk_common.testing.settled import is_settled


class BallThrown(Message):
    """An event that only tests and benchmarks emit."""

    type = "playground.ball.thrown.v1"
    kind: ClassVar[Literal["event", "work"]] = "event"
    owner = "playground"
    ball_id: UUID
    number: int = 0
    filling: str = ""

    @property
    def entity_id(self) -> UUID:
        return self.ball_id


class CatchBall(Message):
    """Work that nobody takes, so that its queue fills."""

    type = "playground.ball.catch.v1"
    kind: ClassVar[Literal["event", "work"]] = "work"
    owner = "playground"
    number: int = 0


def thrown(number: int = 0, *, workspace: UUID | None = None, filling: str = "") -> BallThrown:
    """A new ball; in a workspace of its own unless one is given."""
    return BallThrown(workspace_id=workspace or uuid4(), ball_id=uuid4(), number=number, filling=filling)


def enveloped(message: Message) -> Envelope:
    """The envelope as an outbox would write it."""
    return Envelope(
        type=message.type,
        source=message.owner,
        subject=message.subject(),
        workspace_id=message.workspace_id,
        correlation_id=uuid7(),
        data=message.model_dump(mode="json"),
    )


@dataclass
class Playground:
    """Connected with all rights. Make one with `open_playground`."""

    nc: Client
    js: JetStreamContext
    db: Database
    superuser_dsn: str
    schema: str
    durables: list[Durable] = field(default_factory=list)
    dependencies: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def durable(self, *, ack_wait: float = 30.0, concurrency: int = 1, stream: str = EVENTS) -> Durable:
        """A new durable on the server for the balls thrown from now on."""
        entry = Durable(f"playground-{uuid4().hex[:8]}", "ingest", stream, BallThrown, concurrency)
        await self.js.add_consumer(
            stream,
            ConsumerConfig(
                name=entry.name,
                durable_name=entry.name,
                ack_policy=AckPolicy.EXPLICIT,
                deliver_policy=DeliverPolicy.NEW,
                ack_wait=ack_wait,
                max_deliver=-1,
                filter_subject=entry.filter_subject,
            ),
        )
        self.durables.append(entry)
        return entry

    async def send(self, message: Message) -> Envelope:
        """Puts a message into its stream and returns its envelope."""
        envelope = enveloped(message)
        await self.send_again(envelope)
        return envelope

    async def send_again(self, envelope: Envelope) -> None:
        """Publishes an envelope past the server's own deduplication."""
        headers = {"Nats-Msg-Id": str(uuid7())}
        await self.js.publish(envelope.subject, envelope.model_dump_json().encode(), stream=EVENTS, headers=headers)

    def middleware(
        self,
        entry: Durable,
        handler: Handler,
        *,
        retry_delays: Sequence[float] = RETRY_DELAYS,
        heartbeat_seconds: float = 10.0,
        js: JetStreamContext | None = None,
        with_database: bool = True,
    ) -> ConsumerMiddleware:
        """The middleware around a handler."""
        return ConsumerMiddleware(
            entry,
            handler,
            db=self.db if with_database else None,
            js=lambda: js or self.js,
            dependencies={"postgres": self.db.ping, **self.dependencies},
            stopping=self.stopping,
            retry_delays=retry_delays,
            heartbeat_seconds=heartbeat_seconds,
        )

    @contextlib.asynccontextmanager
    async def working(self, entry: Durable, handler: Handler, *, workers: int = 1, **options: Any) -> AsyncIterator[None]:
        """Workers that fetch one message at a time and hand it to the middleware; cancelled at the end."""
        middleware = self.middleware(entry, handler, **options)

        async def work() -> None:
            subscription = await self.js.pull_subscribe_bind(durable=entry.name, stream=entry.stream)
            while True:
                with contextlib.suppress(NatsTimeout):
                    for message in await subscription.fetch(1, timeout=5):
                        await middleware(message)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        try:
            yield
        finally:
            await cancel_all(tasks)

    async def is_settled(self, entry: Durable) -> bool:
        """Whether nothing waits for the durable and nothing is being worked on."""
        return await is_settled(self.js, entry)

    async def settled(self, entry: Durable, *, seconds: float = 60.0) -> None:
        """Waits until every message of the durable has come to its end."""
        await wait_until(lambda: self.is_settled(entry), seconds=seconds, what=f"{entry.name} settles")

    async def counted(self, entry: Durable, *, ack_pending: int, pending: int) -> None:
        """Waits until so many are being worked on and so many wait: the server counts a moment after it has told."""

        async def is_counted() -> bool:
            info = await self.js.consumer_info(entry.stream, entry.name)
            return (info.num_ack_pending, info.num_pending) == (ack_pending, pending)

        await wait_until(is_counted, seconds=20, what=f"{entry.name} has {ack_pending} in the works and {pending} waiting")

    async def dead_letters(self, entry: Durable) -> list[DeadLetter]:
        """What the durable has given up on."""
        found = await event_log.read(self.nc, DEAD_LETTERS, f"dlq.{entry.service}.{entry.name}.>")
        return [DeadLetter.model_validate_json(item.data) for item in found]

    async def inbox_count(self) -> int:
        """How many messages were handled."""
        async with self.db.read() as session:
            return await session.scalar(select(func.count()).select_from(inbox)) or 0

    async def outbox_count(self) -> int:
        """How many messages wait."""
        async with self.db.read() as session:
            return await session.scalar(select(func.count()).select_from(outbox)) or 0

    async def emit(self, *messages: Message) -> None:
        """One transaction that emits the messages."""
        async with self.db.transaction(Cause.new()) as transaction:
            for message in messages:
                transaction.emit(message)

    async def logged(self, workspace: UUID) -> list[BallThrown]:
        """The balls of a workspace that are in the log, in its order."""
        found = await event_log.read(self.nc, EVENTS, f"evt.playground.v1.ball.thrown.{workspace}.*", limit=100_000, timeout=20)
        return [BallThrown.model_validate(Envelope.model_validate_json(item.data).data) for item in found]


@contextlib.asynccontextmanager
async def open_playground(superuser_dsn: str, nats_operator: Mapping[str, Any], *, database: str) -> AsyncIterator[Playground]:
    """A schema with outbox and inbox and a connection with all rights; everything made in it is removed at the end."""
    schema = f"playground_{uuid4().hex[:8]}"
    dsn = _in_database(superuser_dsn, database)
    nc = await nats.connect(**nats_operator, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    db = Database(dsn, schema=schema)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE SCHEMA {schema}")
        async with db.transaction(Cause.new()) as transaction:
            for table in messaging_metadata.sorted_tables:
                await transaction.session.execute(CreateTable(table))
    finally:
        await connection.close()
    playground = Playground(nc, nc.jetstream(timeout=5), db, dsn, schema)
    try:
        yield playground
    finally:
        for entry in playground.durables:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                await playground.js.delete_consumer(entry.stream, entry.name)
        await nc.close()
        await db.close()
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await connection.close()


def _in_database(dsn: str, database: str) -> str:
    parts = dsn.partition("://")[2].rpartition("@")[0].partition(":")
    return with_login(dsn, user=parts[0], password=parts[2], database=database)

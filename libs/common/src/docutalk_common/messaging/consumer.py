"""The one way a message is handled, used by every subscriber.

Receive → too many deliveries already? dead letter → decode (failure: dead letter) → handler, under a heartbeat, ending in
one short transaction with the inbox row, the state and the outbox rows → ack. A crash anywhere before the ack brings the
message back, and the inbox row makes the second time harmless.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid5

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import ValidationError
from pydantic_core import from_json

from docutalk_common import telemetry
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Contract, Envelope, Message, uuid7
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import DependencyUnavailable, DocuTalkError, PermanentError
from docutalk_common.messaging.streams import DEAD_LETTERS, SCHEDULES, Durable

log = telemetry.get_logger(__name__)

RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
RETRY_JITTER = 0.2
# More deliveries than failures explain: the message kills its process, or never fits into ack_wait.
MAX_DELIVERIES = 15
# A dependency that answers a ping and refuses the same message this often in a row is not away: the message is at fault.
REFUSALS = 3
# Long enough for a person; what a validator says of a thousand fields is longer.
MAX_REASON = 2000

_REMEMBER = "INSERT INTO inbox (consumer, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING consumer"
_REMEMBER_ALL = (
    "INSERT INTO inbox (consumer, message_id) SELECT $1::text, unnest($2::text[]) ON CONFLICT DO NOTHING RETURNING message_id"
)

OUTCOMES = ("handled", "duplicate", "retried", "returned", "dead_letter", "own_dead_letter", "unsettled")

M = TypeVar("M", bound=Contract)


class AlreadyHandled(Exception):
    """The inbox knows this message: an earlier delivery was committed and its ack was lost."""


@dataclass
class Delivery:
    """One delivery of one message, handed to the handler."""

    envelope: Envelope
    attempt: int
    """1 for the first delivery."""
    consumer: str
    db: Database | None
    committed: bool = False

    @property
    def cause(self) -> Cause:
        """For whatever this message leads to."""
        return Cause(self.envelope.correlation_id, self.envelope.id, self.envelope.actor)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """The handler's one transaction. Raises `AlreadyHandled` (the middleware acks) for a message handled before.

        The inbox row goes in first: a second worker with the same message waits for it and then sees it.
        """
        assert self.db is not None, f"{self.consumer} has no database"
        async with self.db.transaction(self.cause) as transaction:
            # Past the ORM: building and compiling this statement for each message took longer than running it.
            connection = await transaction.session.connection()
            added = await connection.exec_driver_sql(_REMEMBER, (self.consumer, str(self.envelope.id)))
            if added.first() is None:
                raise AlreadyHandled
            yield transaction
        self.committed = True


@contextlib.asynccontextmanager
async def shared_transaction(deliveries: Sequence[Delivery]) -> AsyncIterator[tuple[Transaction, list[Delivery]]]:
    """One transaction for several deliveries of one consumer, which costs little more than one for each of them alone.

    Yields it with those that were not handled before; the others are to raise `AlreadyHandled`. When it fails, it has failed
    for all: try each alone.
    """
    first = deliveries[0]
    assert first.db is not None, f"{first.consumer} has no database"
    async with first.db.transaction(first.cause) as transaction:
        connection = await transaction.session.connection()
        ids = sorted({str(delivery.envelope.id) for delivery in deliveries})
        added = {row[0] for row in await connection.exec_driver_sql(_REMEMBER_ALL, (first.consumer, ids))}
        fresh: list[Delivery] = []
        for delivery in deliveries:
            if str(delivery.envelope.id) in added:
                added.remove(str(delivery.envelope.id))
                fresh.append(delivery)
        yield transaction, fresh
    for delivery in fresh:
        delivery.committed = True


Handler = Callable[[Any, Delivery], Awaitable[None]]


class ConsumerMiddleware:
    """Wraps the handler of one durable. One instance serves all of its concurrent subscribers."""

    def __init__(
        self,
        durable: Durable,
        handler: Handler,
        *,
        db: Database | None,
        js: Callable[[], JetStreamContext],
        dependencies: Mapping[str, Callable[[], Awaitable[None]]],
        stopping: asyncio.Event,
        retry_delays: Sequence[float] = RETRY_DELAYS,
        heartbeat_seconds: float | None = None,
    ) -> None:
        """`retry_delays`: seconds before each further attempt; after the last of them a failure is a dead letter."""
        self.durable = durable
        self._retry_delays = retry_delays
        self._heartbeat_seconds = heartbeat_seconds or durable.ack_wait / 3
        # Looked up once: finding a labelled metric takes a lock.
        self._seconds = telemetry.HANDLER_SECONDS.labels(durable.name)
        self._handled = {outcome: telemetry.HANDLED.labels(durable.name, outcome) for outcome in OUTCOMES}
        self._handler = handler
        self._db = db
        self._js = js
        self._dependencies = dependencies
        self._stopping = stopping

    async def __call__(self, message: Msg) -> None:
        """Handles one delivery and settles it: ack, nak with a delay, or dead letter and term. Raises only on cancellation."""
        started = time.perf_counter()
        heartbeat = _Heartbeat(message, self._heartbeat_seconds)
        try:
            outcome = await self._settle(message)
        except asyncio.CancelledError:
            # Shutdown ran out of patience: give the message back at once instead of after ack_wait.
            with contextlib.suppress(Exception):
                await message.nak()
            raise
        except Exception:
            # The message server is away, or the dead letter could not be stored: ack_wait brings the message back.
            log.exception("a delivery could not be settled", consumer=self.durable.name)
            outcome = "unsettled"
        finally:
            heartbeat.stop()
        self._handled[outcome].inc()
        self._seconds.observe(time.perf_counter() - started)

    async def _settle(self, message: Msg) -> str:
        attempt = message.metadata.num_delivered or 1
        if attempt > MAX_DELIVERIES:
            reason = (
                f"it was delivered {attempt} times without an end; handling it probably kills the {self.durable.service} service"
            )
            return await self._bury(message, "too_many_deliveries", reason)
        try:
            envelope, payload = self._decode(message.data)
        except (ValidationError, ValueError, TypeError) as error:
            return await self._bury(message, "undecodable", f"the message could not be read: {error}")
        if isinstance(payload, DeadLetter) and payload.durable == self.durable.name:
            # About this very consumer: it would fail again, and every failure would add another dead letter.
            await message.ack()
            return "own_dead_letter"
        if self.durable.stream == SCHEDULES:
            envelope = _envelope_of_firing(envelope, message)
        delivery = Delivery(envelope, attempt, self.durable.name, self._db)
        with (
            telemetry.span(self.durable.name, kind=SpanKind.CONSUMER, headers=message.headers) as span,
            telemetry.about(envelope.correlation_id, envelope.id),
        ):
            try:
                await self._handle(payload, delivery)
            except AlreadyHandled:
                await message.ack()
                return "duplicate"
            except _Stopped:
                await message.nak()
                return "returned"
            except PermanentError as error:
                span.set_status(StatusCode.ERROR, str(error))
                return await self._bury(message, error.code, str(error))
            except Exception as error:
                span.set_status(StatusCode.ERROR, str(error))
                return await self._retry(message, attempt, error)
        await message.ack()
        return "handled"

    def _decode(self, data: bytes) -> tuple[Envelope, Contract]:
        contract = self.durable.contract
        if not issubclass(contract, Message):
            letter = DeadLetter.model_validate_json(data)
            return _envelope_of(letter, data), letter
        envelope = Envelope.model_validate_json(data)
        if envelope.type != contract.type:
            raise ValueError(f"expected {contract.type}, found {envelope.type}")
        return envelope, contract.model_validate(envelope.data)

    async def _handle(self, payload: Contract, delivery: Delivery) -> None:
        """Runs the handler, again and again while a dependency is away: waiting burns no attempts."""
        refusals = 0
        while True:
            try:
                await self._handler(payload, delivery)
                if delivery.db is not None and not delivery.committed:
                    async with delivery.transaction():
                        pass
                return
            except DependencyUnavailable as error:
                refusals = 0 if await self._waited_for(error) else refusals + 1
                if refusals == REFUSALS:
                    raise

    async def _waited_for(self, error: DependencyUnavailable) -> bool:
        """Returns when the dependency answers: whether it was away at all when asked."""
        ping = self._dependencies.get(error.dependency)
        if ping is None:
            raise error
        log.warning("waiting for a dependency", consumer=self.durable.name, dependency=error.dependency, reason=str(error))
        gauge = telemetry.PAUSED.labels(self.durable.name, error.dependency)
        delay = 0.2
        away = False
        with gauge.track_inprogress():
            while True:
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with its result.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay * random.uniform(0.8, 1.2)):  # noqa: S311
                        await self._stopping.wait()
                if self._stopping.is_set():
                    raise _Stopped
                try:
                    await ping()
                    return away
                except DependencyUnavailable:
                    away = True
                    delay = min(delay * 2, 5.0)

    async def _retry(self, message: Msg, attempt: int, error: Exception) -> str:
        expected = isinstance(error, DocuTalkError)
        log.warning(
            "a message failed and comes again",
            consumer=self.durable.name,
            attempt=attempt,
            error=f"{type(error).__name__}: {error}",
            exc_info=None if expected else error,
        )
        if attempt > len(self._retry_delays):
            code = error.code if isinstance(error, DocuTalkError) else "internal"
            return await self._bury(message, code, f"given up after {attempt} attempts: {error}")
        telemetry.RETRIES.labels(self.durable.name).inc()
        delay = self._retry_delays[attempt - 1] * random.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)  # noqa: S311
        await message.nak(delay=delay)
        return "retried"

    async def _bury(self, message: Msg, code: str, reason: str) -> str:
        """Stores a dead letter, and only then ends the message."""
        letter = dead_letter(self.durable, message, code, reason)
        about = letter.document_id or _entity_of(message.subject)
        subject = f"dlq.{self.durable.service}.{self.durable.name}.{letter.workspace_id or 'none'}.{about or 'none'}"
        await self._js().publish(
            subject,
            letter.model_dump_json().encode(),
            stream=DEAD_LETTERS,
            headers={"Nats-Msg-Id": f"{self.durable.name}:{message.metadata.stream}:{message.metadata.sequence.stream}"},
        )
        await message.term()
        telemetry.DEAD_LETTERS.labels(self.durable.name, code).inc()
        log.error("a message became a dead letter", consumer=self.durable.name, code=code, reason=reason)
        return "dead_letter"


def dead_letter(durable: Durable, message: Msg, code: str, reason: str) -> DeadLetter:
    """What is kept of a message; its ids are read as far as it can be read at all."""
    body: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        decoded = from_json(message.data)
        if isinstance(decoded, dict):
            body = decoded
    data = body.get("data") if isinstance(body.get("data"), dict) else body
    assert isinstance(data, dict)
    version = data.get("version")
    return DeadLetter(
        service=durable.service,
        durable=durable.name,
        stream=message.metadata.stream,
        subject=message.subject,
        message_id=str(body["id"]) if "id" in body else None,
        workspace_id=_uuid(body.get("workspace_id") or data.get("workspace_id")),
        # A letter about a letter names no document: whoever failed to mark it would be asked again, for ever.
        document_id=None if durable.stream == DEAD_LETTERS else _uuid(data.get("document_id")),
        version=version if isinstance(version, int) else None,
        code=code,
        reason=reason[:MAX_REASON],
        attempts=message.metadata.num_delivered or 1,
        failed_at=datetime.now(UTC),
        payload=base64.b64encode(message.data).decode(),
        headers={key: str(value) for key, value in (message.headers or {}).items()},
    )


def _envelope_of(letter: DeadLetter, data: bytes) -> Envelope:
    """Dead letters have no envelope: the id is made of their content, so that the inbox knows them again, and the
    correlation is that of the message inside."""
    inside: Any = None
    with contextlib.suppress(ValueError):
        inside = from_json(letter.body())
    correlation = _uuid(inside.get("correlation_id")) if isinstance(inside, dict) else None
    return Envelope(
        id=UUID(bytes=hashlib.sha256(data).digest()[:16]),
        type="dead-letter",
        source=letter.service,
        subject=letter.subject,
        workspace_id=letter.workspace_id or UUID(int=0),
        correlation_id=correlation or uuid7(),
        data={},
    )


def _envelope_of_firing(envelope: Envelope, message: Msg) -> Envelope:
    """A schedule's message is the same at every firing; its place in the stream is what tells one firing from the next."""
    place = f"{message.metadata.stream}/{message.metadata.sequence.stream}"
    return envelope.model_copy(
        update={"id": uuid5(envelope.id, place), "correlation_id": uuid7(), "time": message.metadata.timestamp}
    )


def _uuid(value: Any) -> UUID | None:
    with contextlib.suppress(ValueError, TypeError):
        return UUID(str(value)) if value is not None else None
    return None


def _entity_of(subject: str) -> UUID | None:
    """What an event is about, or a letter about one, so that what was given up on can be found, and erased, with it."""
    return _uuid(subject.rpartition(".")[2]) if subject.startswith(("evt.", "dlq.")) else None


class _Stopped(Exception):
    """The service stops while a handler waits for a dependency."""


class _Heartbeat:
    """Tells the server again and again that the message is still being worked on. A timer, not a task: most handlers
    end long before its first beat, and a task for each message costs more than the rest of the middleware."""

    def __init__(self, message: Msg, seconds: float) -> None:
        self._message = message
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._beat)
        self._sending: asyncio.Task[None] | None = None

    def _beat(self) -> None:
        self._sending = self._loop.create_task(self._send())
        self._timer = self._loop.call_later(self._seconds, self._beat)

    async def _send(self) -> None:
        with contextlib.suppress(Exception):
            await self._message.in_progress()

    def stop(self) -> None:
        self._timer.cancel()

"""The consumer middleware on real servers: every way a message can end, and that none is lost or handled twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from typing import Any
from uuid import uuid4

import nats
import pytest
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.db import MAX_MESSAGE_BYTES, Cause
from docutalk_common.errors import DependencyUnavailable, PermanentError, TransientError
from docutalk_common.messaging import event_log
from docutalk_common.messaging.consumer import MAX_DELIVERIES, Delivery
from docutalk_common.messaging.streams import durable
from docutalk_common.process import wait_until
from docutalk_common.testing.playground import BallThrown, Playground, enveloped, thrown
from docutalk_local.testing import TestStack


class Record:
    """A handler that notes when it was called, and does what `act` says."""

    def __init__(self, act: Any = None) -> None:
        self.calls: list[tuple[int, int, float]] = []
        self._act = act

    async def __call__(self, ball: BallThrown, delivery: Delivery) -> None:
        self.calls.append((ball.number, delivery.attempt, time.monotonic()))
        if self._act is not None:
            await self._act(ball, delivery)

    async def called(self, times: int) -> None:
        async def enough() -> bool:
            return len(self.calls) >= times

        await wait_until(enough, seconds=15, what=f"the handler is called {times} times")

    @property
    def attempts(self) -> list[int]:
        return [attempt for _, attempt, _ in self.calls]

    @property
    def pauses(self) -> list[float]:
        times = [at for _, _, at in self.calls]
        return [after - before for before, after in itertools.pairwise(times)]


def failing(error: Exception) -> Any:
    async def fail(_ball: BallThrown, _delivery: Delivery) -> None:
        raise error

    return fail


async def test_failing_message_comes_again_after_growing_delays_and_then_becomes_a_dead_letter(playground: Playground) -> None:
    entry = await playground.durable()
    handler = Record(failing(TransientError("the model has a cold")))
    async with playground.working(entry, handler, retry_delays=(0.1, 0.4, 1.2)):
        envelope = await playground.send(thrown(7))
        await playground.settled(entry)
    assert handler.attempts == [1, 2, 3, 4]
    for pause, delay in zip(handler.pauses, (0.1, 0.4, 1.2), strict=True):
        assert pause > delay * 0.75
    (letter,) = await playground.dead_letters(entry)
    assert (letter.code, letter.attempts, letter.message_id) == ("transient", 4, str(envelope.id))
    assert letter.reason == "given up after 4 attempts: the model has a cold"
    assert Envelope.model_validate_json(letter.body()) == envelope
    assert await playground.inbox_count() == 0


async def test_message_that_fails_once_is_handled_the_second_time(playground: Playground) -> None:
    entry = await playground.durable()

    async def fail_once(_ball: BallThrown, delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise RuntimeError("a bug")

    handler = Record(fail_once)
    async with playground.working(entry, handler, retry_delays=(0.05,)):
        await playground.send(thrown())
        await playground.settled(entry)
    assert handler.attempts == [1, 2]
    assert await playground.dead_letters(entry) == []
    assert await playground.inbox_count() == 1


async def test_permanent_error_becomes_a_dead_letter_at_once_and_the_next_message_is_handled(playground: Playground) -> None:
    entry = await playground.durable()

    async def reject_first(ball: BallThrown, _delivery: Delivery) -> None:
        if ball.number == 1:
            raise PermanentError("this file has a password", code="document_encrypted")

    handler = Record(reject_first)
    async with playground.working(entry, handler):
        await playground.send(thrown(1))
        await playground.send(thrown(2))
        await playground.settled(entry)
    assert [(number, attempt) for number, attempt, _ in handler.calls] == [(1, 1), (2, 1)]
    (letter,) = await playground.dead_letters(entry)
    assert (letter.code, letter.reason, letter.attempts) == ("document_encrypted", "this file has a password", 1)
    assert (letter.service, letter.durable, letter.stream) == ("ingest", entry.name, "EVENTS")


async def test_handler_that_fails_leaves_no_trace_in_the_database(playground: Playground) -> None:
    entry = await playground.durable()

    async def emit_and_fail(_ball: BallThrown, delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            transaction.emit(thrown())
            raise PermanentError("no")

    async with playground.working(entry, Record(emit_and_fail)):
        await playground.send(thrown())
        await playground.settled(entry)
    assert await playground.inbox_count() == 0
    assert await playground.outbox_count() == 0


async def test_message_delivered_too_often_becomes_a_dead_letter_without_being_handled(playground: Playground) -> None:
    entry = await playground.durable()
    await playground.send(thrown())
    taken = await playground.js.pull_subscribe_bind(durable=entry.name, stream=entry.stream)
    for _ in range(MAX_DELIVERIES):
        (message,) = await taken.fetch(1, timeout=5)
        await message.nak()
    await taken.unsubscribe()
    handler = Record()
    async with playground.working(entry, handler):
        await playground.settled(entry)
    assert handler.calls == []
    (letter,) = await playground.dead_letters(entry)
    assert (letter.code, letter.attempts) == ("too_many_deliveries", MAX_DELIVERIES + 1)


@pytest.mark.parametrize(
    "poison",
    [
        b"",
        b"not json",
        b"[]",
        b'{"id": 1}',
        b"\xff" * 10,
        b'{"data": ' + b"[" * 5000,
        enveloped(thrown()).model_copy(update={"type": "playground.ball.lost.v1"}).model_dump_json().encode(),
    ],
)
async def test_message_that_cannot_be_read_becomes_a_dead_letter_with_its_bytes(playground: Playground, poison: bytes) -> None:
    entry = await playground.durable()
    handler = Record()
    async with playground.working(entry, handler):
        await playground.js.publish(thrown().subject(), poison, stream="EVENTS")
        await playground.settled(entry)
    assert handler.calls == []
    (letter,) = await playground.dead_letters(entry)
    assert letter.code == "undecodable"
    assert letter.body() == poison


async def test_heartbeat_keeps_a_handler_longer_than_ack_wait_from_being_delivered_twice(playground: Playground) -> None:
    entry = await playground.durable(ack_wait=5.0)
    finished = asyncio.Event()

    async def slow(_ball: BallThrown, _delivery: Delivery) -> None:
        await finished.wait()

    handler = Record(slow)
    # A second worker stands ready to take the message if the server offers it again.
    async with playground.working(entry, handler, workers=2, heartbeat_seconds=0.25):
        await playground.send(thrown())
        await handler.called(1)
        asyncio.get_running_loop().call_later(12.0, finished.set)
        await playground.settled(entry)
    assert handler.attempts == [1]


async def test_without_a_heartbeat_in_time_the_second_delivery_does_no_harm(playground: Playground) -> None:
    """A frozen worker: the server offers its message to another, both finish, one commit counts."""
    entry = await playground.durable(ack_wait=1.0)
    both = asyncio.Event()

    async def meet(_ball: BallThrown, delivery: Delivery) -> None:
        if delivery.attempt == 2:
            both.set()
        await both.wait()
        async with delivery.transaction() as transaction:
            transaction.emit(thrown())

    handler = Record(meet)
    async with playground.working(entry, handler, workers=2, heartbeat_seconds=60):
        await playground.send(thrown())
        await playground.settled(entry)
    assert handler.attempts == [1, 2]
    assert await playground.outbox_count() == 1
    assert await playground.inbox_count() == 1


async def test_same_message_at_eight_workers_at_once_is_handled_once(playground: Playground) -> None:
    entry = await playground.durable()
    envelope = enveloped(thrown())

    async def emit(_ball: BallThrown, delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            transaction.emit(thrown())

    handler = Record(emit)
    for _ in range(8):
        await playground.send_again(envelope)
    async with playground.working(entry, handler, workers=8):
        await playground.settled(entry)
    assert len(handler.calls) == 8
    assert await playground.outbox_count() == 1
    assert await playground.dead_letters(entry) == []


async def test_postgres_down_pauses_the_consumer_and_burns_no_attempt(playground: Playground, stack: TestStack) -> None:
    entry = await playground.durable(ack_wait=5.0)

    async def emit(_ball: BallThrown, delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            transaction.emit(thrown())

    handler = Record(emit)
    await stack.backend.stop_server("postgres")
    try:
        async with playground.working(entry, handler, heartbeat_seconds=0.5, retry_delays=()):
            await playground.send(thrown())
            await handler.called(1)
            # Longer than ack_wait, so that only the heartbeat keeps the message.
            down_until = time.monotonic() + 6

            async def still_held() -> bool:
                info = await playground.js.consumer_info(entry.stream, entry.name)
                assert (info.num_ack_pending, info.num_redelivered) == (1, 0)
                return time.monotonic() > down_until

            await wait_until(still_held, seconds=20, what="the server stays down for a while")
            await stack.backend.start_server("postgres")
            await playground.settled(entry)
    finally:
        with contextlib.suppress(Exception):
            await stack.backend.start_server("postgres")
    assert set(handler.attempts) == {1}
    assert await playground.outbox_count() == 1
    assert await playground.dead_letters(entry) == []


async def test_dependency_that_answers_but_refuses_one_message_again_and_again_burns_attempts(playground: Playground) -> None:
    """One broken object must not loop for ever: the store is not away, the message is at fault."""

    async def answers() -> None:
        return None

    playground.dependencies["storage"] = answers
    entry = await playground.durable()
    handler = Record(failing(DependencyUnavailable("storage", "500 for this object only")))
    async with playground.working(entry, handler, retry_delays=(0.05,)):
        await playground.send(thrown())
        await playground.settled(entry)
    assert set(handler.attempts) == {1, 2}
    (letter,) = await playground.dead_letters(entry)
    assert letter.code == "dependency_unavailable"


async def test_message_waiting_for_a_dependency_is_given_back_at_shutdown(playground: Playground) -> None:
    async def away() -> None:
        raise DependencyUnavailable("storage", "gone")

    playground.dependencies["storage"] = away
    entry = await playground.durable()
    handler = Record(failing(DependencyUnavailable("storage", "gone")))
    async with playground.working(entry, handler):
        await playground.send(thrown())
        await handler.called(1)
        playground.stopping.set()

        async def returned() -> bool:
            return len(handler.calls) > 1

        await wait_until(returned, seconds=5, what="the message comes back at once")
    playground.stopping.clear()


async def test_cancelled_handler_gives_its_message_back_at_once(playground: Playground) -> None:
    entry = await playground.durable(ack_wait=30)
    forever = asyncio.Event()

    async def hang(_ball: BallThrown, _delivery: Delivery) -> None:
        await forever.wait()

    first = Record(hang)
    async with playground.working(entry, first):
        await playground.send(thrown())
        await first.called(1)
    second = Record()
    started = time.monotonic()
    async with playground.working(entry, second):
        await playground.settled(entry)
    assert second.attempts == [2]
    assert time.monotonic() - started < 5


async def test_dead_letter_that_cannot_be_stored_leaves_the_message_in_the_queue(
    playground: Playground, stack: TestStack
) -> None:
    """The embed user may not write dead letters of ingest: the server refuses, and nothing may get lost."""
    refused: list[Exception] = []

    async def note(error: Exception) -> None:
        refused.append(error)

    environment = stack.service_environment("embed")
    other = await nats.connect(
        environment["DOCUTALK_NATS_URL"],
        user="embed",
        password=environment["DOCUTALK_NATS_PASSWORD"],
        inbox_prefix="_INBOX_embed",
        error_cb=note,
    )
    entry = await playground.durable(ack_wait=1.0)
    handler = Record(failing(PermanentError("no")))
    try:
        async with playground.working(entry, handler, js=other.jetstream(timeout=0.3)):
            await playground.send(thrown())
            await handler.called(2)
        assert await playground.dead_letters(entry) == []
        assert refused
        async with playground.working(entry, handler):
            await playground.settled(entry)
    finally:
        await other.close()
    assert len(await playground.dead_letters(entry)) == 1


async def test_one_message_given_up_on_twice_is_one_dead_letter(playground: Playground) -> None:
    """A crash between storing the dead letter and ending the message."""
    entry = await playground.durable()
    envelope = await playground.send(thrown())
    source = await playground.js.pull_subscribe_bind(durable=entry.name, stream=entry.stream)
    (message,) = await source.fetch(1, timeout=5)
    middleware = playground.middleware(entry, failing(PermanentError("no")))
    await middleware._bury(message, "permanent", "no")
    message._ackd = False
    await middleware._bury(message, "permanent", "no")
    (letter,) = await playground.dead_letters(entry)
    assert letter.message_id == str(envelope.id)
    await source.unsubscribe()


async def test_dead_letter_of_a_document_names_it_and_its_workspace_in_the_subject(playground: Playground) -> None:
    entry = await playground.durable()
    ball = thrown()
    document = uuid4()
    body = json.loads(enveloped(ball).model_dump_json())
    body["data"] |= {"document_id": str(document), "version": 3, "number": "not a number"}
    async with playground.working(entry, Record()):
        await playground.js.publish(ball.subject(), json.dumps(body).encode(), stream="EVENTS", headers={"X-Any": "kept"})
        await playground.settled(entry)
    (letter,) = await playground.dead_letters(entry)
    assert (letter.workspace_id, letter.document_id, letter.version) == (ball.workspace_id, document, 3)
    assert letter.headers["X-Any"] == "kept"
    last = await playground.js.get_last_msg("DEAD_LETTERS", f"dlq.ingest.{entry.name}.{ball.workspace_id}.{document}")
    assert last.data


async def test_dead_letter_of_another_event_names_what_it_was_about_in_the_subject(playground: Playground) -> None:
    """What a person said is found by it when they are deleted."""
    entry = await playground.durable()
    ball = thrown()
    async with playground.working(entry, failing(PermanentError("no"))):
        await playground.send(ball)
        await playground.settled(entry)
    last = await playground.js.get_last_msg("DEAD_LETTERS", f"dlq.ingest.{entry.name}.{ball.workspace_id}.{ball.entity_id}")
    assert last.data


async def test_dead_letter_about_the_dead_letter_consumer_itself_ends_there(playground: Playground) -> None:
    """Without this, one that always fails makes a new and longer one for ever."""
    other = await playground.durable()
    async with playground.working(other, failing(PermanentError("no"))):
        await playground.send(thrown())
        await playground.settled(other)
    (letter,) = await playground.dead_letters(other)
    await playground.js.purge_stream("DEAD_LETTERS")
    await playground.js.publish("dlq.ingest.some-other.none.none", letter.model_dump_json().encode())
    entry = durable("ingest-dead-letter")
    seen: list[DeadLetter] = []

    async def fail(found: DeadLetter, _delivery: Delivery) -> None:
        seen.append(found)
        raise PermanentError("always")

    async with playground.working(entry, fail):

        async def two_letters_and_quiet() -> bool:
            return len(await event_log.read(playground.nc, "DEAD_LETTERS", "dlq.>")) == 2 and await playground.is_settled(entry)

        await wait_until(two_letters_and_quiet, seconds=10, what="the second dead letter is not handled")
    assert seen == [letter]


async def test_dead_letter_delivered_twice_is_handled_once_and_keeps_its_correlation(playground: Playground) -> None:
    """Dead letters have no envelope of their own, and so no id that the inbox could know."""
    other = await playground.durable()
    async with playground.working(other, failing(PermanentError("no"))):
        envelope = await playground.send(thrown())
        await playground.settled(other)
    (letter,) = await playground.dead_letters(other)
    await playground.js.purge_stream("DEAD_LETTERS")
    for _ in range(2):
        await playground.js.publish("dlq.ingest.some-other.none.none", letter.model_dump_json().encode())
    entry = durable("ingest-dead-letter")
    causes: list[Cause] = []

    async def emit(_letter: DeadLetter, delivery: Delivery) -> None:
        causes.append(delivery.cause)
        async with delivery.transaction() as transaction:
            transaction.emit(thrown())

    async with playground.working(entry, emit):
        await playground.settled(entry)
    assert len(causes) == 2
    assert {cause.correlation_id for cause in causes} == {envelope.correlation_id}
    assert await playground.outbox_count() == 1


async def test_message_above_the_limit_is_refused_when_it_is_emitted(playground: Playground) -> None:
    """Later it could neither be published nor become a dead letter."""
    with pytest.raises(PermanentError, match="more than the") as refused:
        await playground.emit(thrown(filling="x" * MAX_MESSAGE_BYTES))
    assert refused.value.code == "message_too_large"
    assert await playground.outbox_count() == 0


async def test_largest_message_that_can_be_emitted_fits_into_a_dead_letter(playground: Playground) -> None:
    entry = await playground.durable()
    ball = thrown(filling="x" * (MAX_MESSAGE_BYTES - 1000))
    await playground.emit(ball)
    async with playground.working(entry, failing(PermanentError("no" * 5000))):
        await playground.send(ball)
        await playground.settled(entry)
    (letter,) = await playground.dead_letters(entry)
    assert len(letter.body()) > MAX_MESSAGE_BYTES - 1000
    assert len(letter.reason) == 2000


async def test_what_a_message_leads_to_carries_its_correlation_and_its_id_as_cause(playground: Playground) -> None:
    entry = await playground.durable()
    causes: list[Cause] = []

    async def note(_ball: BallThrown, delivery: Delivery) -> None:
        causes.append(delivery.cause)

    async with playground.working(entry, note):
        envelope = await playground.send(thrown())
        await playground.settled(entry)
    assert causes == [Cause(envelope.correlation_id, envelope.id, envelope.actor)]

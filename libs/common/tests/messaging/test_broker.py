"""A service's broker on real servers: what it starts, what it notices, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from docutalk_common.errors import DocuTalkError
from docutalk_common.messaging import broker as broker_module
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import ConsumerMiddleware, Delivery
from docutalk_common.messaging.requests import Answerer
from docutalk_common.messaging.streams import DURABLES, REQUESTS, SERVICES, Durable
from docutalk_common.process import wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.testing.playground import BallThrown, Playground, thrown
from docutalk_local.testing import TestStack


def operating(stack: TestStack, playground: Playground, **options: Any) -> MessageBroker:
    """A broker with all rights, for durables that are not in the table."""
    environment = stack.service_environment("ingest") | {
        "DOCUTALK_NATS_USER": "operator",
        "DOCUTALK_NATS_PASSWORD": stack.nats_operator["password"],
    }
    settings = ServiceSettings.from_environment(environment)
    return MessageBroker(settings, service="ingest", db=playground.db, **options)


async def until(check: Any, what: str) -> None:
    async def checked() -> bool:
        return bool(check())

    await wait_until(checked, seconds=60, what=what)


async def test_emitted_message_reaches_a_handler_that_emits_the_next(stack: TestStack, playground: Playground) -> None:
    entry = await playground.durable(concurrency=4)
    handled: list[int] = []

    async def count_down(ball: BallThrown, delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            if ball.number:
                transaction.emit(thrown(ball.number - 1))
        handled.append(ball.number)

    broker = operating(stack, playground)
    broker.consume(entry, count_down)
    await broker.start()
    try:
        await broker.ping()
        await playground.emit(thrown(10))
        await until(lambda: len(handled) == 11, "the chain ends")
    finally:
        await broker.stop()
    assert handled == list(range(10, -1, -1))
    await playground.settled(entry)


@pytest.mark.parametrize("concurrency", [3, 3 * broker_module.MOST_PULLERS])
async def test_concurrency_is_how_many_messages_run_and_no_more_are_fetched(
    stack: TestStack, playground: Playground, concurrency: int
) -> None:
    """What waits must wait in the server, where another process can take it."""
    entry = await playground.durable(concurrency=concurrency)
    release = asyncio.Event()
    running: list[int] = []

    async def hold(ball: BallThrown, _delivery: Delivery) -> None:
        running.append(ball.number)
        await release.wait()

    broker = operating(stack, playground)
    broker.consume(entry, hold)
    await broker.start()
    try:
        for n in range(concurrency + 7):
            await playground.send(thrown(n))
        await until(lambda: len(running) == concurrency, "as many handlers run")
        await playground.counted(entry, ack_pending=concurrency, pending=7)
        release.set()
        await until(lambda: len(running) == concurrency + 7, "all are handled")
    finally:
        await broker.stop()
    assert sorted(running) == list(range(concurrency + 7))


async def test_stop_lets_a_handler_finish_and_takes_no_more(stack: TestStack, playground: Playground) -> None:
    entry = await playground.durable()
    begun, release = asyncio.Event(), asyncio.Event()
    finished: list[int] = []

    async def hold(ball: BallThrown, _delivery: Delivery) -> None:
        begun.set()
        await release.wait()
        finished.append(ball.number)

    broker = operating(stack, playground)
    broker.consume(entry, hold)
    await broker.start()
    await playground.send(thrown(1))
    await begun.wait()
    await playground.send(thrown(2))
    stopping = asyncio.create_task(broker.stop())
    asyncio.get_running_loop().call_later(0.3, release.set)
    await stopping
    assert finished == [1]
    await playground.counted(entry, ack_pending=0, pending=1)


async def test_handler_that_does_not_end_is_cancelled_after_the_grace_and_its_message_given_back(
    stack: TestStack, playground: Playground
) -> None:
    entry = await playground.durable(ack_wait=30.0)
    begun = asyncio.Event()

    async def hang(_ball: BallThrown, delivery: Delivery) -> None:
        async with delivery.transaction():
            begun.set()
            await asyncio.Event().wait()

    broker = operating(stack, playground)
    broker.consume(entry, hang)
    await broker.start()
    await playground.send(thrown())
    await begun.wait()
    started = time.monotonic()
    await broker.stop(grace=0.5)
    assert time.monotonic() - started < 20
    async with playground.working(entry, cast("Any", _nothing)):
        await playground.settled(entry, seconds=15)
    assert await playground.inbox_count() == 1


async def _nothing(_ball: BallThrown, _delivery: Delivery) -> None:
    return None


async def test_stop_while_nats_is_away_ends_in_time(stack: TestStack, playground: Playground) -> None:
    entry = await playground.durable()
    broker = operating(stack, playground)
    broker.consume(entry, _nothing)
    await broker.start()
    await stack.backend.stop_server("nats")
    try:
        started = time.monotonic()
        await broker.stop(grace=1)
        assert time.monotonic() - started < 12
    finally:
        await stack.backend.start_server("nats")


async def test_stop_with_something_unsent_on_a_lost_connection_is_still_a_stop(stack: TestStack, playground: Playground) -> None:
    """nats-py sends what is pending before it closes, and raised when there was no connection left to send it on."""
    broker = operating(stack, playground)
    await broker.start()
    await stack.backend.stop_server("nats")
    try:
        await wait_until(_disconnected(broker), seconds=10, what="the client sees that the server is gone")
        await broker.nc.publish("evt.unsent", b"")
        await broker.stop(grace=1)
    finally:
        await stack.backend.start_server("nats")
    assert broker.nc.is_closed


def _disconnected(broker: MessageBroker) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return not broker.nc.is_connected

    return check


async def test_consumer_goes_on_after_nats_was_killed(stack: TestStack, playground: Playground) -> None:
    entry = await playground.durable()
    handled: list[int] = []

    async def note(ball: BallThrown, _delivery: Delivery) -> None:
        handled.append(ball.number)

    broker = operating(stack, playground)
    broker.consume(entry, note)
    await broker.start()
    try:
        await playground.emit(thrown(1))
        await until(lambda: handled == [1], "the first message is handled")
        await stack.backend.kill_server("nats")
        await playground.emit(thrown(2))
        await stack.backend.start_server("nats")
        await until(lambda: 2 in handled, "the second message is handled")
    finally:
        await broker.stop()


async def test_missing_durable_fails_the_start_and_says_what_to_do(stack: TestStack, playground: Playground) -> None:
    broker = operating(stack, playground)
    broker.consume(Durable("ingest-nowhere", "ingest", "EVENTS", BallThrown), _nothing)
    with pytest.raises(DocuTalkError, match="ingest-nowhere is not on the server; run the topology command"):
        await broker.start()
    await broker.stop()


async def test_durable_deleted_while_running_is_fatal(stack: TestStack, playground: Playground) -> None:
    """Its subscriber would ask for ever, over a connection that is well."""
    assert broker_module.WATCH_SECONDS <= 30
    entry = await playground.durable()
    fatal: list[str] = []
    broker = operating(stack, playground, on_fatal=fatal.append, watch_seconds=0.1)
    broker.consume(entry, _nothing)
    await broker.start()
    try:
        await playground.js.delete_consumer(entry.stream, entry.name)
        await until(lambda: fatal, "the broker notices")
    finally:
        await broker.stop()
    assert f"the durable {entry.name} is gone" in fatal[0]


@pytest.mark.parametrize("service", SERVICES)
def test_every_subscriber_of_a_service_goes_through_the_middleware(stack: TestStack, service: Any) -> None:
    settings = ServiceSettings.from_environment(stack.service_environment(service))
    broker = MessageBroker(settings, service=service, db=None)
    durables = [entry for entry in DURABLES if entry.service == service]
    requests = [entry for entry in REQUESTS if entry.service == service]
    for entry in durables:
        broker.consume(entry.name, _nothing)
    for request in requests:
        broker.answer(request.subject, cast("Any", _nothing))
    assert {puller.middleware.durable.name for puller in broker.pullers} == {entry.name for entry in durables}
    for puller in broker.pullers:
        assert isinstance(puller.middleware, ConsumerMiddleware)
    assert {responder.answerer.request.subject for responder in broker.responders} == {entry.subject for entry in requests}
    assert all(isinstance(responder.answerer, Answerer) for responder in broker.responders)


def test_broker_refuses_a_durable_or_a_request_of_another_service(stack: TestStack) -> None:
    broker = MessageBroker(ServiceSettings.from_environment(stack.service_environment("chat")), service="chat", db=None)
    with pytest.raises(AssertionError, match="belongs to ingest"):
        broker.consume("ingest-document-extract", _nothing)
    with pytest.raises(AssertionError, match="is answered by ingest"):
        broker.answer("rpc.ingest.v1.page.get", cast("Any", _nothing))
    with pytest.raises(KeyError):
        broker.consume("chat-made-up", _nothing)

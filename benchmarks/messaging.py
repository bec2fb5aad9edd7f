"""What the common messaging code costs, against bare nats-py on the same servers in the same run.

`python benchmarks/messaging.py` starts its own servers, prints a table with goal and figure, and ends with 1 when a goal is
missed. Rounds of both sides alternate, so that a noisy machine disturbs both; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import nats
import uvloop
from docutalk_common import telemetry
from docutalk_common.contracts import ingest
from docutalk_common.contracts.envelope import Contract
from docutalk_common.db import Cause
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.outbox import OutboxRelay
from docutalk_common.process import cancel_all
from docutalk_common.settings import ServiceSettings
from docutalk_common.testing.playground import BallThrown, Playground, enveloped, open_playground, thrown
from docutalk_local.testing import TestStack, make_backend
from nats.js import JetStreamContext


@dataclass
class Line:
    """A row of the table."""

    what: str
    figure: str
    goal: str
    met: bool | None = None


async def publish(playground: Playground, count: int) -> None:
    """That many balls into the log, as fast as it goes."""
    bodies = []
    for n in range(count):
        ball = thrown(n, filling="x" * 200)
        bodies.append((ball.subject(), enveloped(ball).model_dump_json().encode()))
    for start in range(0, count, 200):
        await asyncio.gather(
            *(playground.js.publish(subject, body, stream="EVENTS") for subject, body in bodies[start : start + 200])
        )


async def bare_consumer(playground: Playground, js: JetStreamContext, count: int) -> float:
    """nats-py: fetch one, decode, ack. Messages a second."""
    entry = await playground.durable()
    await publish(playground, count)
    subscription = await js.pull_subscribe_bind(durable=entry.name, stream=entry.stream)
    started = time.perf_counter()
    for _ in range(count):
        (message,) = await subscription.fetch(1, timeout=5)
        await message.ack()
    rate = count / (time.perf_counter() - started)
    await subscription.unsubscribe()
    await playground.js.delete_consumer(entry.stream, entry.name)
    return rate


async def guarded_consumer(
    playground: Playground, broker_of: Callable[[bool], MessageBroker], count: int, *, with_db: bool
) -> float:
    """The middleware at batch 1, as services run it. Messages a second."""
    entry = await playground.durable()
    await publish(playground, count)
    done = asyncio.Event()
    handled = 0

    async def handle(_ball: BallThrown, delivery: Delivery) -> None:
        nonlocal handled
        if with_db:
            async with delivery.transaction():
                pass
        handled += 1
        if handled == count:
            done.set()

    broker = broker_of(with_db)
    broker.consume(entry, handle)
    started = time.perf_counter()
    await broker.start()
    async with asyncio.timeout(120):
        await done.wait()
    rate = count / (time.perf_counter() - started)
    await broker.stop()
    await playground.js.delete_consumer(entry.stream, entry.name)
    return rate


async def bare_consumer_with_inbox(playground: Playground, js: JetStreamContext, count: int) -> float:
    """nats-py and asyncpg by hand: fetch one, one transaction with the inbox row, ack. Messages a second."""
    entry = await playground.durable()
    await publish(playground, count)
    connection = await asyncpg.connect(playground.superuser_dsn, server_settings={"search_path": playground.schema})
    subscription = await js.pull_subscribe_bind(durable=entry.name, stream=entry.stream)
    started = time.perf_counter()
    for n in range(count):
        (message,) = await subscription.fetch(1, timeout=5)
        async with connection.transaction():
            await connection.fetch(
                "INSERT INTO inbox (consumer, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING consumer",
                entry.name,
                str(n),
            )
        await message.ack()
    rate = count / (time.perf_counter() - started)
    await subscription.unsubscribe()
    await connection.close()
    await playground.js.delete_consumer(entry.stream, entry.name)
    return rate


Side = Callable[[], Awaitable[float]]


async def compare(bare: Side, ours: Side, rounds: int) -> tuple[float, float, float]:
    """Medians of both and the median of the rounds' ratios, after one round to warm up."""
    pairs = []
    for number in range(rounds + 1):
        pair = (await bare(), await ours())
        if number:
            pairs.append(pair)
    middle = statistics.median
    return middle(a for a, _ in pairs), middle(b for _, b in pairs), middle(b / a for a, b in pairs)


async def consumers(stack: TestStack, playground: Playground, count: int, rounds: int) -> list[Line]:
    environment = stack.service_environment("ingest")
    environment |= {"DOCUTALK_NATS_USER": "operator", "DOCUTALK_NATS_PASSWORD": stack.nats_operator["password"]}
    settings = ServiceSettings.from_environment(environment)

    def broker_of(with_db: bool) -> MessageBroker:
        return MessageBroker(settings, service="ingest", db=playground.db if with_db else None)

    nc = await nats.connect(**stack.nats_operator)
    js = nc.jetstream()
    lines = []
    bare, ours, ratio = await compare(
        lambda: bare_consumer(playground, js, count),
        lambda: guarded_consumer(playground, broker_of, count, with_db=False),
        rounds,
    )
    lines.append(
        Line(
            "consumer middleware against bare nats-py, batch 1",
            f"{ratio:.2f} ({ours:.0f} of {bare:.0f}/s)",
            "≥ 0.5",
            ratio >= 0.5,
        )
    )
    bare, ours, ratio = await compare(
        lambda: bare_consumer_with_inbox(playground, js, count),
        lambda: guarded_consumer(playground, broker_of, count, with_db=True),
        rounds,
    )
    lines.append(
        Line("the same, both with an inbox transaction", f"{ratio:.2f} ({ours:.0f} of {bare:.0f}/s)", "≥ 0.5", ratio >= 0.5)
    )
    await nc.close()
    return lines


async def requests(stack: TestStack, count: int) -> list[Line]:
    """Round trips one after the other, gateway and service in one process and event loop: an upper bound."""
    pages = ingest.Pages(pages=[ingest.Page(document_id=uuid4(), number=1, label="1", text="word " * 400)])

    async def answer(_request: Any, _cause: Cause) -> Contract:
        return pages

    def broker(service: Any) -> MessageBroker:
        return MessageBroker(ServiceSettings.from_environment(stack.service_environment(service)), service=service, db=None)

    service, gateway = broker("ingest"), broker("gateway")
    service.answer("rpc.ingest.v1.page.get", answer)
    await service.start()
    await gateway.start()
    question = ingest.GetPages(workspace_id=uuid4(), pages=[ingest.PageRef(document_id=uuid4(), number=1)])

    async def bare_answer(message: Any) -> None:
        await message.respond(b"x" * 2000)

    operator = await nats.connect(**stack.nats_operator)
    await operator.subscribe("bench.echo", cb=bare_answer)
    other = await nats.connect(**stack.nats_operator)
    ours: list[float] = []
    bare: list[float] = []
    for number in range(count + 200):
        started = time.perf_counter()
        await gateway.requests.ask("rpc.ingest.v1.page.get", question, ingest.Pages)
        middle = time.perf_counter()
        await other.request("bench.echo", b"x" * 200, timeout=5)
        if number >= 200:
            ours.append((middle - started) * 1000)
            bare.append((time.perf_counter() - middle) * 1000)
    with contextlib.suppress(Exception):
        await operator.close()
        await other.close()
    await gateway.stop()
    await service.stop()
    p50, p99 = statistics.median(ours), statistics.quantiles(ours, n=100)[98]
    base50, base99 = statistics.median(bare), statistics.quantiles(bare, n=100)[98]
    above = p50 - base50
    return [
        Line("request, p50 above a bare nats-py request", f"{above:.2f} ms ({p50:.2f} against {base50:.2f})", "–"),
        Line("request, gateway → service and back, p50", f"{p50:.2f} ms", "≤ 0.5 ms", p50 <= 0.5),
        Line("request, p99", f"{p99:.2f} ms (bare {base99:.2f})", "< 3 ms", p99 < 3),
    ]


async def bare_publish(playground: Playground, count: int) -> float:
    """js.publish, 200 at once. Messages a second."""
    bodies = [
        (ball.subject(), enveloped(ball).model_dump_json().encode())
        for ball in (thrown(n, filling="x" * 200) for n in range(count))
    ]
    started = time.perf_counter()
    for start in range(0, count, 200):
        await asyncio.gather(
            *(
                playground.js.publish(subject, body, stream="EVENTS", headers={"Nats-Msg-Id": str(uuid4())})
                for subject, body in bodies[start : start + 200]
            )
        )
    return count / (time.perf_counter() - started)


async def relayed(playground: Playground, count: int) -> float:
    """From a full outbox to an empty one. Messages a second."""
    await playground.emit(*(thrown(n, filling="x" * 200) for n in range(count)))
    started = time.perf_counter()
    task = asyncio.create_task(OutboxRelay(playground.db, lambda: playground.js).run())
    while await playground.outbox_count():
        await asyncio.sleep(0.01)
    rate = count / (time.perf_counter() - started)
    await cancel_all([task])
    return rate


async def outbox(playground: Playground, count: int, rounds: int) -> list[Line]:
    bare, ours, ratio = await compare(lambda: bare_publish(playground, count), lambda: relayed(playground, count), rounds)
    return [Line("outbox relay against bare js.publish", f"{ratio:.2f} ({ours:.0f} of {bare:.0f}/s)", "≥ 0.5", ratio >= 0.5)]


@contextlib.asynccontextmanager
async def servers() -> AsyncIterator[TestStack]:
    with tempfile.TemporaryDirectory() as folder:
        backend = make_backend(Path(folder))
        try:
            await backend.start()
            yield await TestStack.provisioned(backend)
        finally:
            await backend.stop()


async def main(count: int, rounds: int) -> int:
    telemetry.configure_logging("benchmark", log_format="json", level="ERROR")
    telemetry.configure_tracing("benchmark")
    async with servers() as stack:
        superuser = stack.backend.servers.superuser_dsn
        async with open_playground(superuser, stack.nats_operator, database=stack.database) as playground:
            lines = await consumers(stack, playground, count, rounds)
            lines += await requests(stack, count)
            lines += await outbox(playground, count, rounds)
    width = max(len(line.what) for line in lines)
    for line in lines:
        verdict = {True: "met", False: "MISSED", None: ""}[line.met]
        print(f"{line.what:<{width}}  {line.figure:<32}  {line.goal:<10}  {verdict}")
    return 1 if any(line.met is False for line in lines) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="messages in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sys.exit(uvloop.run(main(options.count, options.rounds)))

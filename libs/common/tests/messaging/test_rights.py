"""What each NATS user may do, tried on the real server: its own work, and nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import nats
import pytest
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import DURABLES, REQUESTS, SERVICES, ServiceName
from docutalk_common.messaging.topology import inbox_prefix
from docutalk_common.process import wait_until
from docutalk_local.testing import TestStack
from nats.aio.client import Client
from nats.aio.msg import Msg

ALL = pytest.mark.parametrize("service", SERVICES)


@contextlib.asynccontextmanager
async def connected(stack: TestStack, service: ServiceName) -> AsyncIterator[tuple[Client, list[str]]]:
    """A connection as the service, and what the server has refused."""
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    environment = stack.service_environment(service)
    nc = await nats.connect(
        environment["DOCUTALK_NATS_URL"],
        user=environment["DOCUTALK_NATS_USER"],
        password=environment["DOCUTALK_NATS_PASSWORD"],
        inbox_prefix=inbox_prefix(service),
        error_cb=note,
        allow_reconnect=False,
    )
    try:
        yield nc, refused
    finally:
        await nc.close()


def publishes_refused(service: ServiceName) -> list[str]:
    others = [other for other in SERVICES if other != service]
    subjects = [f"evt.{other}.v1.document.uploaded.w.d" for other in others]
    subjects += [f"dlq.{other}.some-durable.none.none" for other in others]
    subjects += [f"{inbox_prefix(other)}.someone" for other in others] + ["_INBOX.someone"]
    for durable in DURABLES:
        if durable.service != service:
            subjects += [
                f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}",
                f"$JS.API.CONSUMER.INFO.{durable.stream}.{durable.name}",
                f"$JS.ACK.{durable.stream}.{durable.name}.1.1.1.1.1",
            ]
        subjects += [
            f"$JS.API.CONSUMER.DELETE.{durable.stream}.{durable.name}",
            f"$JS.API.CONSUMER.CREATE.{durable.stream}.{durable.name}.{durable.filter_subject}",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{durable.stream}.{durable.name}",
            f"$JS.API.CONSUMER.PAUSE.{durable.stream}.{durable.name}",
        ]
    subjects += [request.subject for request in REQUESTS if service not in request.askers]
    for stream in ("EVENTS", "WORK", "TOKENS", "DEAD_LETTERS", "ADVISORIES", "SCHEDULES"):
        subjects += [f"$JS.API.STREAM.{verb}.{stream}" for verb in ("CREATE", "UPDATE", "DELETE", "MSG.DELETE", "SNAPSHOT")]
        # The gateway erases what was said of a deleted workspace; nobody forgets how messages ended.
        if service != "gateway" or stream == "ADVISORIES":
            subjects.append(f"$JS.API.STREAM.PURGE.{stream}")
        subjects += [f"$JS.API.CONSUMER.CREATE.{stream}", f"$JS.API.STREAM.MSG.GET.{stream}"]
    subjects += ["$JS.API.STREAM.LIST", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "sch.x.y", "due.x.y"]
    subjects += ["live.evt.gateway.v1.document.uploaded.w.d", "live.tok.w.a"]
    if service != "chat":
        subjects.append("tok.w.a")
    if service != "ingest":
        subjects += ["work.ingest.v1.document.extract.w", "work.embed.v1.chunks.index.w"]
    if service != "gateway":
        subjects += ["$JS.API.DIRECT.GET.EVENTS", "$JS.API.DIRECT.GET.DEAD_LETTERS"]
    return subjects


def subscriptions_refused(service: ServiceName) -> list[str]:
    subjects = [">", "*", "evt.>", "work.>", "dlq.>", "tok.>", "sch.>", "due.>", "rpc.>", "$JS.>", "$SYS.>", "_INBOX.>"]
    subjects += [f"{inbox_prefix(other)}.>" for other in SERVICES if other != service]
    subjects += [request.subject for request in REQUESTS if request.service != service]
    if service != "gateway":
        subjects += ["live.>", "live.evt.>", "live.tok.w.a"]
    else:
        subjects += ["live.>"]
    return subjects


@ALL
async def test_service_is_refused_every_publish_that_is_not_its_own(stack: TestStack, service: ServiceName) -> None:
    subjects = publishes_refused(service)
    async with connected(stack, service) as (nc, refused):
        for subject in subjects:
            await nc.publish(subject, b"{}")
        await nc.flush()

        async def all_refused() -> bool:
            return len(refused) >= len(subjects)

        with contextlib.suppress(TimeoutError):
            await wait_until(all_refused, seconds=15, what="every publish is refused")
    text = "\n".join(refused).lower()
    assert [subject for subject in subjects if f'publish to "{subject.lower()}"' not in text] == []


@ALL
async def test_service_is_refused_every_subscription_that_is_not_its_own(stack: TestStack, service: ServiceName) -> None:
    subjects = subscriptions_refused(service)
    async with connected(stack, service) as (nc, refused):
        for subject in subjects:
            await nc.subscribe(subject)
        await nc.flush()

        async def all_refused() -> bool:
            return len(refused) >= len(subjects)

        with contextlib.suppress(TimeoutError):
            await wait_until(all_refused, seconds=15, what="every subscription is refused")
    text = "\n".join(refused).lower()
    assert [subject for subject in subjects if f'subscription to "{subject.lower()}"' not in text] == []


async def subscribed(nc: Client) -> None:
    """The client's PING overtakes a SUB that still waits in its buffer; a second one does not."""
    await nc.flush()
    await nc.flush()


async def _answer(message: Msg) -> None:
    await message.respond(b"{}")


@ALL
async def test_service_may_do_what_it_needs(stack: TestStack, service: ServiceName) -> None:
    operator = await nats.connect(**stack.nats_operator)
    async with connected(stack, service) as (nc, refused):
        js = nc.jetstream(timeout=15)
        await js.publish(f"evt.{service}.v1.probe.made.{uuid4()}.{uuid4()}", b"{}", stream="EVENTS")
        await js.publish(f"dlq.{service}.probe.none.none", b"{}", stream="DEAD_LETTERS")
        for durable in DURABLES:
            if durable.service == service:
                await js.consumer_info(durable.stream, durable.name)
                subscription = await js.pull_subscribe_bind(durable=durable.name, stream=durable.stream)
                with contextlib.suppress(nats.errors.TimeoutError):
                    for message in await subscription.fetch(1, timeout=0.1):
                        await message.ack()
                await subscription.unsubscribe()
        for request in REQUESTS:
            if request.service == service:
                # Answering whoever asks, into an inbox this service may not write to by itself.
                await nc.subscribe(request.subject, queue=service, cb=_answer)
                await subscribed(nc)
                assert (await operator.request(request.subject, b"", timeout=15)).data == b"{}"
            if service in request.askers:
                with contextlib.suppress(nats.errors.NoRespondersError):
                    await nc.request(request.subject, b"", timeout=15)
        if service == "ingest":
            await js.publish(f"work.ingest.v1.document.extract.{uuid4()}", b"{}", stream="WORK")
            await js.publish(f"work.embed.v1.chunks.index.{uuid4()}", b"{}", stream="WORK")
        if service == "chat":
            await js.publish(f"tok.{uuid4()}.{uuid4()}", b"{}", stream="TOKENS")
            await event_log.read(nc, "TOKENS", "tok.*.*", limit=1)
        if service == "gateway":
            for stream in ("EVENTS", "TOKENS", "DEAD_LETTERS"):
                await event_log.read(nc, stream, ">", limit=1)
            await nc.subscribe("live.tok.w.a")
            await nc.subscribe("live.evt.*.*.*.*.w.*")
        await nc.flush()
    # No service of another test is to find what is no message.
    for stream in ("EVENTS", "WORK", "DEAD_LETTERS", "TOKENS"):
        await operator.jetstream().purge_stream(stream)
    await operator.close()
    assert refused == []


async def test_service_cannot_make_a_stream_or_a_durable(stack: TestStack) -> None:
    async with connected(stack, "ingest") as (nc, refused):
        js = nc.jetstream(timeout=0.5)
        for attempt in (
            js.add_stream(name="MINE", subjects=["mine.>"]),
            js.delete_stream("EVENTS"),
            js.delete_consumer("WORK", "ingest-document-extract"),
        ):
            with pytest.raises(nats.errors.TimeoutError):
                await attempt

        async def all_refused() -> bool:
            return len(refused) == 3

        await wait_until(all_refused, seconds=15, what="every attempt is refused")
    operator = await nats.connect(**stack.nats_operator)
    names = {info.config.name for info in await operator.jetstream().streams_info()}
    await operator.close()
    assert "EVENTS" in names
    assert "MINE" not in names


async def test_reading_a_stream_without_the_right_is_an_error_not_an_empty_answer(stack: TestStack) -> None:
    async with connected(stack, "embed") as (nc, _refused):
        with pytest.raises(DependencyUnavailable):
            await event_log.read(nc, "EVENTS", "evt.>", timeout=0.5)


async def test_nobody_connects_without_a_password(stack: TestStack) -> None:
    async def ignore(_: Exception) -> None:
        return None

    for login in ({}, {"user": "ingest", "password": "wrong"}, {"user": "operator", "password": ""}):
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            await nats.connect(stack.backend.servers.nats_url, allow_reconnect=False, error_cb=ignore, **login)


async def test_reply_may_be_sent_once_only(stack: TestStack) -> None:
    """A service answers an asker's inbox because it was asked, not because it may write there."""
    operator = await nats.connect(**stack.nats_operator)
    async with connected(stack, "embed") as (nc, refused):

        async def twice(message: Msg) -> None:
            await message.respond(b"1")
            await message.respond(b"2")

        await nc.subscribe("rpc.embed.v1.text.embed", cb=twice)
        await subscribed(nc)
        await operator.request("rpc.embed.v1.text.embed", json.dumps({"texts": []}).encode(), timeout=15)
        await nc.flush()

        async def second_refused() -> bool:
            return len(refused) == 1

        await wait_until(second_refused, seconds=15, what="the second reply is refused")
    await operator.close()

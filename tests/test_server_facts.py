"""What we rest on in nats-server, nats-py, FastStream and rclone, as tests: when one fails after an update, read what of ours
rests on it before changing the test."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import nats
import pytest
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.messaging.topology import server_config
from docutalk_common.process import wait_until
from docutalk_local.testing import TestStack
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.security import NatsUserPassword
from minio import Minio
from minio.error import InvalidResponseError, S3Error
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError


@dataclass
class Server:
    """A connection with all rights and a stream of the test's own."""

    nc: Client
    js: JetStreamContext
    stream: str
    login: dict[str, str]

    def subject(self, name: str) -> str:
        return f"{self.stream.lower()}.{name}"

    def faststream(self, **options: Any) -> NatsBroker:
        return NatsBroker(
            self.login["servers"], security=NatsUserPassword(self.login["user"], self.login["password"]), logger=None, **options
        )


@pytest.fixture
async def server(stack: TestStack) -> AsyncIterator[Server]:
    nc = await nats.connect(**stack.nats_operator)
    js = nc.jetstream(timeout=5)
    name = f"FACT{uuid4().hex[:8].upper()}"
    await js.add_stream(StreamConfig(name=name, subjects=[f"{name.lower()}.>"], allow_direct=True, duplicate_window=60.0))
    yield Server(nc, js, name, stack.nats_operator)
    for stream in (name, f"{name}W"):
        try:
            await js.delete_stream(stream)
        except NotFoundError:
            continue
    await nc.close()


async def until(check: Callable[[], object], what: str, seconds: float = 10) -> None:
    async def checked() -> bool:
        return bool(check())

    await wait_until(checked, seconds=seconds, what=what)


async def subscribed_calls(server: Server, policy: AckPolicy, *, enough: int) -> list[float]:
    """When a FastStream handler that always fails was called, for one message."""
    broker = server.faststream(apply_types=False)
    calls: list[float] = []

    @broker.subscriber(
        server.subject("x"),
        stream=JStream(server.stream, declare=False),
        durable="fails",
        pull_sub=PullSub(batch_size=1, timeout=1.0),
        ack_policy=policy,
    )
    async def fail(_body: Any) -> None:
        calls.append(time.monotonic())
        raise RuntimeError("a bug")

    await broker.start()
    await server.js.publish(server.subject("x"), b"1", stream=server.stream)
    await until(lambda: len(calls) >= enough, f"{enough} calls")

    async def quiet() -> bool:
        info = await server.js.consumer_info(server.stream, "fails")
        return len(calls) > enough or not info.num_ack_pending

    await wait_until(quiet, seconds=5, what="the message is settled or comes again")
    await broker.stop()
    return calls


async def test_faststream_default_policy_loses_a_message_on_the_first_exception(server: Server) -> None:
    """Why every message goes through our middleware with manual acknowledgement, and no subscriber may be without it."""
    calls = await subscribed_calls(server, AckPolicy.REJECT_ON_ERROR, enough=1)
    assert len(calls) == 1
    info = await server.js.consumer_info(server.stream, "fails")
    assert (info.num_pending, info.num_ack_pending) == (0, 0)


async def test_faststream_nack_on_error_comes_again_without_a_delay(server: Server) -> None:
    """Why the middleware naks with delays of its own: a failing message would otherwise loop as fast as the machine allows."""
    calls = await subscribed_calls(server, AckPolicy.NACK_ON_ERROR, enough=50)
    assert calls[49] - calls[0] < 5


async def test_faststream_declared_stream_overwrites_the_settings_on_the_server(server: Server) -> None:
    """Why streams are made by the topology command only, and services have no right to change them."""
    await server.js.update_stream(StreamConfig(name=server.stream, subjects=[f"{server.stream.lower()}.>"], max_msgs=77))
    broker = server.faststream(apply_types=False)

    @broker.subscriber(server.subject("y"), stream=JStream(server.stream, max_msgs=5), durable="d", pull_sub=PullSub())
    async def handle(_body: Any) -> None:
        return None

    await broker.start()
    await broker.stop()
    assert (await server.js.stream_info(server.stream)).config.max_msgs == 5


async def test_faststream_handler_that_raises_sends_no_reply(server: Server) -> None:
    """Why every answer is an envelope `{ok | error}` that our answerer sends, also for an exception."""
    broker = server.faststream(apply_types=False)
    subject = f"ask.{uuid4().hex}"

    @broker.subscriber(subject)
    async def fail(_body: Any) -> str:
        raise RuntimeError("a bug")

    await broker.start()
    for _ in range(2):  # a PING overtakes a SUB that still waits in the client's buffer
        await broker.connection.flush()
    with pytest.raises(nats.errors.TimeoutError):
        await server.nc.request(subject, b"", timeout=0.5)
    await broker.stop()


async def test_publish_without_a_stream_name_to_nobody_is_not_noticed_in_core_nats(server: Server) -> None:
    """Why the relay publishes through JetStream with the expected stream: only then the server says stored or refused."""
    await server.nc.publish("nobody.listens.here", b"lost")
    await server.nc.flush()
    with pytest.raises(nats.js.errors.NoStreamResponseError):
        await server.js.publish("nobody.listens.here", b"refused", stream=server.stream)


async def test_message_id_is_deduplicated_within_the_window(server: Server) -> None:
    """Why the relay may publish again after a crash between publishing and deleting."""
    headers = {"Nats-Msg-Id": "same"}
    first = await server.js.publish(server.subject("x"), b"1", headers=dict(headers))
    second = await server.js.publish(server.subject("x"), b"1", headers=dict(headers))
    assert (first.duplicate, second.duplicate) == (None, True)
    assert (await server.js.stream_info(server.stream)).state.messages == 1


async def test_max_deliver_leaves_a_message_of_a_work_queue_stuck(server: Server) -> None:
    """Why `max_deliver` is -1 and the middleware counts deliveries."""
    name = f"{server.stream}W"
    await server.js.add_stream(StreamConfig(name=name, subjects=[f"{name.lower()}.>"], retention=RetentionPolicy.WORK_QUEUE))
    await server.js.add_consumer(name, ConsumerConfig(durable_name="d", max_deliver=2, ack_wait=1.0))
    await server.js.publish(f"{name.lower()}.x", b"1")
    subscription = await server.js.pull_subscribe_bind(durable="d", stream=name)
    for _ in range(2):
        (message,) = await subscription.fetch(1, timeout=5)
        await message.nak()
    with pytest.raises(nats.errors.TimeoutError):
        await subscription.fetch(1, timeout=0.5)
    assert (await server.js.stream_info(name)).state.messages == 1


async def test_consumer_backoff_does_not_apply_to_an_explicit_nak(server: Server) -> None:
    """Why the middleware gives each nak its delay."""
    await server.js.add_consumer(server.stream, ConsumerConfig(durable_name="d", max_deliver=5, backoff=[30.0, 60.0]))
    await server.js.publish(server.subject("x"), b"1")
    subscription = await server.js.pull_subscribe_bind(durable="d", stream=server.stream)
    (message,) = await subscription.fetch(1, timeout=5)
    await message.nak()
    (message,) = await subscription.fetch(1, timeout=5)
    # And it spoils the delay that the nak itself asks for.
    await message.nak(delay=0.2)
    with pytest.raises(nats.errors.TimeoutError):
        await subscription.fetch(1, timeout=1.5)


async def test_delay_of_a_nak_is_kept_without_backoff(server: Server) -> None:
    """What the middleware's retries are made of."""
    await server.js.add_consumer(server.stream, ConsumerConfig(durable_name="d", ack_wait=30.0))
    await server.js.publish(server.subject("x"), b"1")
    subscription = await server.js.pull_subscribe_bind(durable="d", stream=server.stream)
    (message,) = await subscription.fetch(1, timeout=5)
    await message.nak(delay=0.5)
    started = time.monotonic()
    (message,) = await subscription.fetch(1, timeout=5)
    assert time.monotonic() - started > 0.4
    assert message.metadata.num_delivered == 2


async def test_full_subject_is_refused_while_other_subjects_of_the_work_queue_are_taken(server: Server) -> None:
    """Why a full workspace waits in the outbox and the relay goes on with the others."""
    name = f"{server.stream}W"
    await server.js.add_stream(
        StreamConfig(
            name=name,
            subjects=[f"{name.lower()}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=nats.js.api.DiscardPolicy.NEW,
            max_msgs_per_subject=2,
            discard_new_per_subject=True,
        )
    )
    for _ in range(2):
        await server.js.publish(f"{name.lower()}.full", b"1", stream=name)
    with pytest.raises(APIError, match="maximum messages per subject exceeded"):
        await server.js.publish(f"{name.lower()}.full", b"1", stream=name)
    await server.js.publish(f"{name.lower()}.other", b"1", stream=name)


async def test_scheduled_message_fires_without_its_message_id_and_past_core_subscribers(server: Server) -> None:
    """Why delays of our own messages are `not_before` in the outbox, and schedules fire into a stream we consume."""
    seen: list[Msg] = []

    async def note(message: Msg) -> None:
        seen.append(message)

    name = f"{server.stream}W"
    base = name.lower()
    config = StreamConfig(name=name, subjects=[f"{base}.>"], allow_msg_schedules=True, allow_rollup_hdrs=True)
    await server.js.add_stream(config)
    await server.nc.subscribe(f"{base}.due", cb=note)
    at = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": f"{base}.due", "Nats-Msg-Id": "one"}
    await server.js.publish(f"{base}.schedule", b"now", headers=headers)

    async def fired() -> bool:
        try:
            await server.js.get_last_msg(name, f"{base}.due")
        except NotFoundError:
            return False
        return True

    await wait_until(fired, seconds=8, what="the schedule fires")
    stored = await server.js.get_last_msg(name, f"{base}.due")
    assert stored.data == b"now"
    assert "Nats-Msg-Id" not in (stored.headers or {})
    assert seen == []


async def test_overdue_schedule_fires_after_the_server_was_killed(stack: TestStack, server: Server) -> None:
    """Why recurring sources may rest on the server's schedules."""
    name = f"{server.stream}W"
    base = name.lower()
    await server.js.add_stream(StreamConfig(name=name, subjects=[f"{base}.>"], allow_msg_schedules=True, allow_rollup_hdrs=True))
    due = datetime.now(UTC) + timedelta(seconds=2)
    headers = {"Nats-Schedule": f"@at {due:%Y-%m-%dT%H:%M:%SZ}", "Nats-Schedule-Target": f"{base}.due"}
    await server.js.publish(f"{base}.schedule", b"late", headers=headers)
    await stack.backend.kill_server("nats")
    await until(lambda: datetime.now(UTC) > due, "the time passes while the server is down")
    await stack.backend.start_server("nats")

    async def fired() -> bool:
        try:
            return bool((await server.js.get_last_msg(name, f"{base}.due")).data)
        except (NotFoundError, nats.errors.Error):
            return False

    await wait_until(fired, seconds=10, what="the overdue schedule fires")


@pytest.fixture
async def scheduled(server: Server) -> str:
    """The first part of the subjects of a stream that takes schedules."""
    name = f"{server.stream}W"
    base = name.lower()
    await server.js.add_stream(StreamConfig(name=name, subjects=[f"{base}.>"], allow_msg_schedules=True, allow_rollup_hdrs=True))
    return base


async def test_schedule_replaces_the_one_before_under_its_subject_and_fires_at_once_for_a_past_time(
    server: Server, scheduled: str
) -> None:
    """Why a source has one subject, and needs no right to purge: whatever was asked for it before is gone."""
    later, before = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(days=1)
    for at, data in ((later, b"first"), (before, b"second")):
        headers = {"Nats-Schedule": f"@at {at:%Y-%m-%dT%H:%M:%SZ}", "Nats-Schedule-Target": f"{scheduled}.due"}
        await server.js.publish(f"{scheduled}.schedule", data, headers=headers | {"Nats-Schedule-Rollup": "sub"})

    async def fired() -> bool:
        info = await server.js.stream_info(scheduled.upper(), subjects_filter=f"{scheduled}.>")
        return info.state.subjects == {f"{scheduled}.due": 1}

    await wait_until(fired, seconds=8, what="the second fires and both schedules are gone")
    assert (await server.js.get_last_msg(scheduled.upper(), f"{scheduled}.due")).data == b"second"


@pytest.mark.parametrize(
    "schedule",
    [
        {"Nats-Schedule": "0 6 * * *"},
        {"Nats-Schedule": "@every 0.5s"},
        {"Nats-Schedule": "0 0 6 * * *", "Nats-Schedule-Time-Zone": "Mars/Olympus"},
        {"Nats-Schedule": "@every 1h", "Nats-Schedule-Time-Zone": "UTC"},
    ],
)
async def test_server_takes_no_cron_of_five_fields_and_no_zone_that_its_machine_does_not_know(
    server: Server, scheduled: str, schedule: dict[str, str]
) -> None:
    """Why next times are computed by ingest: people write five fields, and the server's image has no time zones at all."""
    with pytest.raises(APIError, match="message schedules"):
        await server.js.publish(f"{scheduled}.schedule", b"", headers={**schedule, "Nats-Schedule-Target": f"{scheduled}.due"})


def test_server_is_told_to_write_through_before_it_acknowledges() -> None:
    """The server's default is two minutes: a power cut would take what it had acknowledged."""
    passwords = dict.fromkeys((*SERVICES, "operator"), "x")
    config = json.loads(server_config(passwords, port=1, store_dir="d"))
    assert config["jetstream"]["sync_interval"] == "always"


async def test_consumer_deleted_while_a_client_fetches_leaves_the_connection_well(server: Server) -> None:
    """Why the broker asks for the durables' state every 30 seconds: nothing else tells that nobody gets messages any more."""
    await server.js.add_consumer(server.stream, ConsumerConfig(durable_name="d"))
    subscription = await server.js.pull_subscribe_bind(durable="d", stream=server.stream)
    await server.js.delete_consumer(server.stream, "d")
    with pytest.raises((nats.errors.TimeoutError, nats.errors.Error)):
        await subscription.fetch(1, timeout=0.5)
    assert server.nc.is_connected
    with pytest.raises(NotFoundError):
        await server.js.consumer_info(server.stream, "d")


async def test_request_to_nobody_fails_at_once(server: Server) -> None:
    """Why a stopped service is `unavailable` in milliseconds and not after the deadline."""
    with pytest.raises(nats.errors.NoRespondersError):
        await server.nc.request(f"nobody.{uuid4().hex}", b"", timeout=5)


async def test_republished_message_carries_its_stream_sequence(stack: TestStack, server: Server) -> None:
    """Why the gateway can join a live feed and what it read from the stream, and drop what it has seen."""
    subscription = await server.nc.subscribe("live.tok.w.>")
    for _ in range(2):
        await server.nc.flush()
    answer = uuid4().hex
    stored = await server.js.publish(f"tok.w.{answer}", b"1", stream="TOKENS")
    message = await subscription.next_msg(timeout=5)
    assert message.subject == f"live.tok.w.{answer}"
    assert (message.headers or {})["Nats-Sequence"] == str(stored.seq)


async def test_wait_for_swallows_a_cancellation_that_comes_with_its_result() -> None:
    """Why our loops use `asyncio.timeout` and `cancel_all` asks again. Python 3.12 mended it; then this fact may go."""
    ready = asyncio.Event()

    async def wait() -> str:
        await asyncio.wait_for(ready.wait(), 10)
        return "not cancelled"

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ready.set()
    await asyncio.sleep(0)
    task.cancel()
    assert await asyncio.gather(task, return_exceptions=True) == ["not cancelled"]


async def test_rclone_reports_a_missing_object_so_that_storage_can_tell(stack: TestStack) -> None:
    """Why `ObjectStorage` reads the status from the text: rclone's error bodies are `text/xml`, which the client rejects."""
    keys = stack.service_environment("gateway")
    client = Minio(
        keys["DOCUTALK_S3_ENDPOINT"],
        access_key=keys["DOCUTALK_S3_ACCESS_KEY"],
        secret_key=keys["DOCUTALK_S3_SECRET_KEY"],
        secure=False,
        region=keys["DOCUTALK_S3_REGION"],
    )
    with pytest.raises((InvalidResponseError, S3Error), match=r"404|NoSuchKey"):
        client.get_object(keys["DOCUTALK_S3_BUCKET"], "missing")

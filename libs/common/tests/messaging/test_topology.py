"""The topology command: what differs is named and fails, `--update` mends, strangers are reported."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import nats
import pytest
from docutalk_common.messaging import topology
from docutalk_common.messaging.streams import DURABLES, STREAMS, TOKENS
from docutalk_local.testing import TestStack
from nats.aio.client import Client
from nats.js.api import ConsumerConfig


@pytest.fixture
async def operator(stack: TestStack) -> AsyncIterator[Client]:
    nc = await nats.connect(**stack.nats_operator)
    yield nc
    await nc.close()


async def drift(nc: Client) -> list[str]:
    with pytest.raises(topology.TopologyDrift) as found:
        await topology.apply(nc)
    return found.value.differences


async def command(stack: TestStack, *arguments: str) -> tuple[int | None, str, str]:
    login: dict[str, Any] = stack.nats_operator
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "docutalk_common.messaging.topology",
        *arguments,
        env={
            "DOCUTALK_NATS_URL": login["servers"],
            "DOCUTALK_NATS_USER": login["user"],
            "DOCUTALK_NATS_PASSWORD": login["password"],
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_applying_again_changes_nothing(operator: Client) -> None:
    assert await topology.apply(operator) == []
    assert await topology.apply(operator, update=True) == []


async def test_nothing_is_missing_after_the_server_was_killed(stack: TestStack) -> None:
    """A stream in memory would be gone, and with it streamed answers until somebody provisions again."""
    await stack.backend.kill_server("nats")
    await stack.backend.start_server("nats")
    nc = await nats.connect(**stack.nats_operator)
    try:
        assert await topology.apply(nc) == []
        await nc.jetstream().publish(f"tok.{uuid4()}.{uuid4()}", b"frame", stream=TOKENS)
    finally:
        await nc.close()


async def test_missing_stream_and_durable_are_made(operator: Client) -> None:
    js = operator.jetstream()
    await js.delete_stream("ADVISORIES")
    await js.delete_consumer("WORK", "embed-chunks-index")
    assert await topology.apply(operator) == ["created stream ADVISORIES", "created durable embed-chunks-index"]


@pytest.mark.parametrize(
    "change", [{"max_age": 60.0}, {"max_bytes": 1 << 20}, {"duplicate_window": 1.0}, {"allow_direct": False}]
)
async def test_changed_stream_is_named_and_mended_only_when_asked(operator: Client, change: dict[str, Any]) -> None:
    js = operator.jetstream()
    wanted = next(stream for stream in STREAMS if stream.name == "DEAD_LETTERS")
    (name,) = change
    await js.update_stream(wanted.evolve(**({"duplicate_window": 1.0} | change)))
    differences = await drift(operator)
    assert any(line.startswith(f"stream DEAD_LETTERS: {name} is") for line in differences)
    assert await topology.apply(operator, update=True) == ["updated stream DEAD_LETTERS"]
    assert await topology.apply(operator) == []


async def test_changed_durable_fails_the_command_until_it_is_updated(operator: Client, stack: TestStack) -> None:
    js = operator.jetstream()
    entry = DURABLES[0]
    await js.add_consumer(entry.stream, topology.consumer_config(entry).evolve(ack_wait=5.0))
    code, _, err = await command(stack)
    assert code == 1
    assert f"durable {entry.name}: ack_wait is 5.0, should be 30.0" in err
    assert "--update" in err
    code, out, err = await command(stack, "--update")
    assert (code, out, err) == (0, f"updated durable {entry.name}\n", "")
    assert (await command(stack))[0] == 0


async def test_durable_that_nobody_knows_is_reported_and_left_alone(operator: Client) -> None:
    js = operator.jetstream()
    await js.add_consumer("EVENTS", ConsumerConfig(durable_name="ingest-old-thing", filter_subject="evt.x.>"))
    try:
        assert await drift(operator) == ["durable ingest-old-thing on EVENTS is not in the table; delete it or add it"]
        with pytest.raises(topology.TopologyDrift):
            await topology.apply(operator, update=True)
        await js.consumer_info("EVENTS", "ingest-old-thing")
    finally:
        await js.delete_consumer("EVENTS", "ingest-old-thing")


def test_every_message_of_a_service_has_exactly_one_stream_and_every_durable_its_owner() -> None:
    names = [entry.name for entry in DURABLES]
    assert len(names) == len(set(names))
    for entry in DURABLES:
        assert entry.name.startswith(f"{entry.service}-")
        stream = next(stream for stream in STREAMS if stream.name == entry.stream)
        prefix = entry.filter_subject.partition(".")[0]
        assert f"{prefix}.>" in (stream.subjects or [])

"""Each service has its own user at NATS, and the server refuses it everything that isn't its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest
from docutalk_common.messaging.streams import DURABLES, SERVICES, ServiceName
from docutalk_local.testing import TestStack
from nats.aio.client import Client

FOREIGN = [(mine, theirs) for mine in SERVICES for theirs in SERVICES if mine != theirs]


class Refusals:
    """What the server complained about to one client."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[str] = asyncio.Queue()

    async def note(self, error: Exception) -> None:
        await self.texts.put(str(error).lower())

    async def expect(self, kind: str, subject: str) -> None:
        async with asyncio.timeout(5):
            while True:
                text = await self.texts.get()
                if f"permissions violation for {kind}" in text and subject.lower() in text:
                    return


@asynccontextmanager
async def connected(stack: TestStack, service: ServiceName) -> AsyncIterator[tuple[Client, Refusals]]:
    refusals = Refusals()
    environment = stack.service_environment(service)
    client = await nats.connect(
        environment["DOCUTALK_NATS_URL"],
        user=environment["DOCUTALK_NATS_USER"],
        password=environment["DOCUTALK_NATS_PASSWORD"],
        error_cb=refusals.note,
        allow_reconnect=False,
    )
    try:
        yield client, refusals
    finally:
        await client.close()


@pytest.mark.parametrize(("mine", "theirs"), FOREIGN)
async def test_a_service_cannot_emit_events_of_another(stack: TestStack, mine: ServiceName, theirs: ServiceName) -> None:
    async with connected(stack, mine) as (client, refusals):
        await client.publish(f"evt.{theirs}.v1.document.deleted.w.d", b"{}")
        await client.flush()
        await refusals.expect("publish", f"evt.{theirs}.v1.document.deleted.w.d")


@pytest.mark.parametrize(("mine", "theirs"), FOREIGN)
async def test_a_service_cannot_take_messages_from_a_durable_of_another(
    stack: TestStack, mine: ServiceName, theirs: ServiceName
) -> None:
    durable = next((durable for durable in DURABLES if durable.service == theirs), None)
    assert durable is not None
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}"
    async with connected(stack, mine) as (client, refusals):
        await client.publish(subject, b"1")
        await client.flush()
        await refusals.expect("publish", subject)


# The gateway erases from the log what was said of a deleted workspace.
CHANGES = [
    (service, verb)
    for service in SERVICES
    for verb in ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "CONSUMER.CREATE")
    if (service, verb) != ("gateway", "STREAM.PURGE")
]


@pytest.mark.parametrize(("service", "verb"), CHANGES)
async def test_a_service_cannot_change_streams_or_durables(stack: TestStack, service: ServiceName, verb: str) -> None:
    async with connected(stack, service) as (client, refusals):
        await client.publish(f"$JS.API.{verb}.EVENTS", b"{}")
        await client.flush()
        await refusals.expect("publish", f"$js.api.{verb}.events")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("subject", [">", "evt.>", "_INBOX.>"])
async def test_a_service_cannot_listen_to_what_is_not_for_it(stack: TestStack, service: ServiceName, subject: str) -> None:
    async with connected(stack, service) as (client, refusals):
        await client.subscribe(subject)
        await client.flush()
        await refusals.expect("subscription", subject)


async def test_a_wrong_password_is_refused_by_nats(stack: TestStack) -> None:
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await nats.connect(
            stack.backend.servers.nats_url, user="chat", password="wrong", allow_reconnect=False, error_cb=Refusals().note
        )

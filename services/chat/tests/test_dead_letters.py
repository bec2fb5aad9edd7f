"""A question that was given up on: its answer fails, and who waits for it is told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from docutalk_common.contracts.chat import FrameKind
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.messaging.streams import durable
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_local.testing import TestStack

from .world import SECONDS, Documents, Person, running_chat


def letter_about(posted: MessagePosted, payload: bytes | None = None) -> DeadLetter:
    envelope = envelope_for(posted)
    return DeadLetter(
        service="chat",
        durable="chat-message-posted",
        stream="EVENTS",
        subject=envelope.subject,
        message_id=str(envelope.id),
        workspace_id=posted.workspace_id,
        document_id=None,
        code="internal",
        reason="given up after 6 attempts: the disk is full",
        attempts=6,
        failed_at=datetime.now(UTC),
        payload=base64.b64encode(payload if payload is not None else envelope.model_dump_json().encode()).decode(),
    )


async def send(wire: Wire, letter: DeadLetter) -> None:
    """Puts the letter where the middleware does, and waits until chat has taken it."""
    await wire.send_raw(f"dlq.chat.{letter.durable}.{letter.workspace_id}.none", letter.model_dump_json().encode())
    await wait_until(lambda: wire.settled(durable("chat-dead-letter")), seconds=SECONDS, what="chat takes the dead letter")


@pytest.mark.parametrize("text", ["How many?", "How \0 many?"])
async def test_question_that_was_given_up_on_ends_with_an_error_that_can_be_asked_for(
    stack: TestStack, wire: Wire, person: Person, text: str
) -> None:
    async with running_chat(stack):
        posted = person.message(await person.open_session(), text)
        await send(wire, letter_about(posted))
        frames = await person.frames_until_final(posted)
        state = await person.state(posted)
        events = await person.events(posted, count=1)
        await send(wire, letter_about(posted))
        again = await person.events(posted, count=1)
    assert (frames[-1].kind, frames[-1].code) == (FrameKind.ERROR, "internal")
    assert frames[-1].reason == state.reason == "The answer was given up: given up after 6 attempts: the disk is full"
    assert state.code == "internal"
    assert events == again == ["chat.answer.failed.v1"]


async def test_answer_that_is_stored_stays_when_its_message_is_given_up_on_afterwards(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add("The harvest of 2021 was 412 tonnes of apples.")
    async with running_chat(stack):
        posted, frames = await person.ask(await person.open_session(), "How many tonnes of apples?")
        before = await person.state(posted)
        await send(wire, letter_about(posted))
        assert await person.state(posted) == before
        assert await person.frames(posted) == frames


async def test_letter_about_what_cannot_be_read_or_is_not_chats_changes_nothing(
    stack: TestStack, wire: Wire, person: Person
) -> None:
    async with running_chat(stack):
        posted = person.message(await person.open_session(), "How many?")
        await send(wire, letter_about(posted, payload=b"\xff not json"))
        await send(wire, letter_about(posted).model_copy(update={"durable": "ingest-document-extract", "service": "ingest"}))
        assert await person.frames(posted) == []
        assert await wire.dead_letters(durable("chat-dead-letter")) == []

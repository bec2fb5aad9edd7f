"""Answers while chat itself is killed, and the process as it is started in production."""

from __future__ import annotations

import asyncio
import signal
import sys
from uuid import UUID

from docutalk_common.contracts.chat import FrameKind
from docutalk_common.errors import RequestFailed
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack

from .world import SECONDS, Documents, Person, running_chat, text_of

APPLES = "The harvest of 2021 was 412 tonnes of apples."


async def test_answer_whose_process_was_killed_begins_again_behind_its_frames(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(APPLES)
    model.script(Reply(["The harvest ", "was..."], delay=60), Reply.text("It was 412 tonnes of apples [1]."))
    environment = stack.service_environment("chat") | {"DOCUTALK_LLM_BASE_URL": model.base_url, "DOCUTALK_LLM_MODEL": "tiny"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "docutalk_chat", env=environment)
    try:
        session_id = await _opened(person)
        posted = await person.post(session_id, "How was the harvest?")

        async def begun() -> bool:
            return FrameKind.DELTA in [frame.kind for frame in await person.frames(posted)]

        await wait_until(begun, seconds=SECONDS, what="the first words come")
    finally:
        process.kill()
        await process.wait()
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        # The server gives the message back after ack_wait; the relay's second copy comes at once.
        await wire.send(envelope_for(posted))
        frames = await person.frames_until_final(posted)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    starts = [frame.index for frame in frames if frame.kind is FrameKind.START]
    assert len(starts) == 2
    assert starts[1] > 1
    assert text_of(frames) == "It was 412 tonnes of apples [1]."
    assert frames[-1].kind is FrameKind.DONE
    await wire.clear()  # what the killed process held comes back to whoever consumes then


async def test_stored_answer_is_published_again_when_its_message_comes_again(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(APPLES)
    async with running_chat(stack):
        posted, first = await person.ask(await person.open_session(), "How many tonnes of apples?")
        await wire.send(envelope_for(posted))
        frames = await person.frames_until_final(posted, finals=2)
    again = frames[len(first) :]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [frame.kind for frame in again] == [FrameKind.START, FrameKind.DELTA, FrameKind.CITATION, FrameKind.DONE]
    assert again[-1].answer == first[-1].answer
    assert text_of(frames) == text_of(first)


async def test_stored_failure_is_published_again_when_its_message_comes_again(
    stack: TestStack, wire: Wire, person: Person
) -> None:
    async with running_chat(stack):
        posted, first = await person.ask(await person.open_session(), "How many tonnes of apples?")
        await wire.send(envelope_for(posted))
        frames = await person.frames_until_final(posted, finals=2)
    assert frames[-1].code == first[-1].code == "search_unavailable"


async def test_message_that_comes_again_while_it_is_answered_ends_in_the_one_answer_that_is_stored(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(APPLES)
    answer = "It was 412 tonnes of apples [1]. "
    model.script(Reply([answer, *["First. "] * 60], delay=0.05), Reply([answer, *["Second. "] * 10], delay=0.02))
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        posted = await person.post(await person.open_session(), "How was the harvest?")
        await person.until_text(posted)
        await wire.send(envelope_for(posted))
        # Whoever makes the other one says the same in the end, behind all that it had said.
        frames = await person.frames_until_final(posted, finals=2)
        [_, stored] = await person.messages(posted.session_id)
    assert [frame.kind for frame in frames].count(FrameKind.DONE) == 2
    assert frames[-1].index == max(frame.index for frame in frames)
    assert frames[-1].answer is not None
    assert text_of(frames) == frames[-1].answer.response == stored.text == answer + " ".join(["Second."] * 10)


async def test_process_answers_and_ends_orderly_on_a_signal(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(APPLES)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "docutalk_chat", env=stack.service_environment("chat"))
    try:
        _, frames = await person.ask(await _opened(person), "How many tonnes of apples?")
        assert frames[-1].kind is FrameKind.DONE
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _opened(person: Person) -> UUID:
    """A session, as soon as the process answers."""
    opened: list[UUID] = []

    async def answered() -> bool:
        try:
            opened.append(await person.open_session())
        except RequestFailed:
            return False
        return True

    await wait_until(answered, seconds=SECONDS, what="the service answers")
    return opened[0]

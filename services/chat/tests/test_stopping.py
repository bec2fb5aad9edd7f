"""Answers that somebody does not want to go on."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest
from docutalk_chat.adapters import repository
from docutalk_common.contracts.chat import AnswerState, FrameKind, StopAnswer
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause
from docutalk_common.errors import NotFound
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack

from .world import SECONDS, Documents, Person, running_chat, text_of

HARVEST = "The harvest of 2021 was 412 tonnes of apples.\nThe rain came late."
SLOW = Reply(["It was 412 tonnes of apples [1]. ", *["And so on. "] * 1000], delay=0.05)


async def test_stopped_answer_keeps_what_was_written_and_the_model_is_left_alone(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(SLOW)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        posted = await person.post(await person.open_session(), "How was the harvest?")
        await person.until_text(posted)
        await person.stop(posted)
        frames = await person.frames_until_final(posted)
        async with asyncio.timeout(10):
            await model.abandoned.wait()
        state = await person.state(posted)
        [question, answer] = await person.messages(posted.session_id)
        events = await person.events(posted, count=2)
    assert frames[-1].kind is FrameKind.DONE
    assert state.answer is not None
    assert state.answer.stopped
    assert state.answer.response == text_of(frames)
    assert state.answer.response.startswith("It was 412 tonnes of apples")
    assert len(state.answer.response) < 5000
    # The marker that is in the text has its citation.
    assert state.answer.response.count("[1]") == len(state.answer.citations)
    assert (question.answering, answer.stopped, answer.text) == (None, True, state.answer.response)
    assert events[-1] == "chat.answer.completed.v1"


async def test_answer_is_stopped_that_another_process_makes(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(SLOW)
    environment = stack.service_environment("chat") | {"DOCUTALK_LLM_BASE_URL": model.base_url, "DOCUTALK_LLM_MODEL": "tiny"}
    async with contextlib.AsyncExitStack() as ending:
        async with running_chat(stack):
            # Makes sure of the session before the other process may take the question.
            session_id = await person.open_session()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "docutalk_chat", env=environment)
        ending.push_async_callback(process.wait)
        ending.callback(process.kill)
        posted = person.message(session_id, "How was the harvest?")
        await wire.send(envelope_for(posted))
        await person.until_text(posted)
        async with running_chat(stack) as db, db.transaction(Cause.new()) as transaction:
            # As a process does that was asked and does not make the answer itself.
            await repository.request_stop(transaction.session, posted.answer_id, session_id)
        frames = await person.frames_until_final(posted)
    assert frames[-1].answer is not None
    assert frames[-1].answer.stopped


async def test_answer_that_nobody_has_begun_ends_before_it_begins(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        posted = person.message(await person.open_session(), "How was the harvest?")
        await person.stop(posted)
        await person.wire.send(envelope_for(posted))
        frames = await person.frames_until_final(posted)
        state = await person.state(posted)
    assert state.answer is not None
    assert (state.answer.stopped, state.answer.response, state.answer.citations) == (True, "", [])
    assert [frame.kind for frame in frames] == [FrameKind.START, FrameKind.DONE]


async def test_answer_that_has_ended_stays_as_it_is(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(HARVEST)
    async with running_chat(stack):
        posted, frames = await person.ask(await person.open_session(), "How many tonnes of apples?")
        await person.stop(posted)
        state = await person.state(posted)
    assert state.answer == frames[-1].answer
    assert state.answer is not None
    assert not state.answer.stopped


async def test_nobody_stops_the_answer_of_somebody_else(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack):
        posted, _ = await person.ask(await person.open_session(), "How many tonnes of apples?")
        colleague = Person(wire, workspace_id=person.workspace_id)
        for session_id in (posted.session_id, uuid7()):
            ids = {"session_id": session_id, "answer_id": posted.answer_id}
            with pytest.raises(NotFound):
                await colleague.request("rpc.chat.v1.answer.stop", StopAnswer, AnswerState, **ids)


async def test_nobody_stops_the_answer_of_somebody_else_through_a_session_of_their_own(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(Reply(["It was ", "412 tonnes of apples [1]."], first_delay=1))
    colleague = Person(wire, workspace_id=person.workspace_id)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        posted = person.message(await person.open_session(), "How was the harvest?")
        ids = {"session_id": await colleague.open_session(), "answer_id": posted.answer_id}
        # Before it begins, when nobody can tell yet whose it will be, and while it is made.
        await colleague.request("rpc.chat.v1.answer.stop", StopAnswer, AnswerState, **ids)
        await wire.send(envelope_for(posted))

        async def is_begun() -> bool:
            return bool(model.requests)

        await wait_until(is_begun, seconds=SECONDS, what="the model is asked")
        with pytest.raises(NotFound):
            await colleague.request("rpc.chat.v1.answer.stop", StopAnswer, AnswerState, **ids)
        frames = await person.frames_until_final(posted)
    assert frames[-1].answer is not None
    assert not frames[-1].answer.stopped
    assert frames[-1].answer.response == "It was 412 tonnes of apples [1]."


async def test_mark_of_somebody_else_keeps_nobody_from_stopping_their_answer(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(SLOW)
    colleague = Person(wire, workspace_id=person.workspace_id)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        posted = person.message(await person.open_session(), "How was the harvest?")
        ids = {"session_id": await colleague.open_session(), "answer_id": posted.answer_id}
        await colleague.request("rpc.chat.v1.answer.stop", StopAnswer, AnswerState, **ids)
        await person.stop(posted)
        await wire.send(envelope_for(posted))
        frames = await person.frames_until_final(posted)
    assert frames[-1].answer is not None
    assert frames[-1].answer.stopped

"""Sessions belong to one user in one workspace."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from docutalk_chat.adapters import repository, session_repository
from docutalk_common.contracts.chat import (
    Answer,
    AnswerState,
    DeleteSession,
    FrameKind,
    GetAnswer,
    ListMessages,
    ListSessions,
    MessageList,
    OpenSession,
    SessionDeleted,
    SessionList,
    SessionOpened,
)
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause
from docutalk_common.errors import NotFound
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack
from sqlalchemy import text

from .world import SECONDS, Documents, Person, running_chat

APPLES = "The harvest of 2021 was 412 tonnes of apples."


async def test_sessions_are_listed_last_used_first_in_pages(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(APPLES)
    async with running_chat(stack):
        opened = [await person.open_session() for _ in range(3)]
        await person.open_session()  # nothing is said in it: not shown
        for number, session_id in enumerate(opened):
            await person.ask(session_id, f"Question {number} about apples?")
        await person.ask(opened[0], "More about apples?")

        async def page(number: int) -> SessionList:
            found: SessionList = await person.request(
                "rpc.chat.v1.session.list", ListSessions, SessionList, page=number, per_page=2
            )
            return found

        first, second = await page(1), await page(2)
    assert [session.session_id for session in [*first.items, *second.items]] == [opened[0], opened[2], opened[1]]
    assert first.total == second.total == 3
    assert first.items[0].title == "Question 0 about apples?"
    assert first.items[0].updated_at > first.items[0].created_at


async def test_deleted_session_is_gone_with_all_that_was_said(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(APPLES)
    async with running_chat(stack):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, "How many apples?")
        await person.request("rpc.chat.v1.session.delete", DeleteSession, SessionDeleted, session_id=session_id)
        calls: list[tuple[str, Any, Any, dict[str, Any]]] = [
            ("rpc.chat.v1.session.open", OpenSession, SessionOpened, {"session_id": session_id}),
            ("rpc.chat.v1.session.delete", DeleteSession, SessionDeleted, {"session_id": session_id}),
            ("rpc.chat.v1.message.list", ListMessages, MessageList, {"session_id": session_id}),
            ("rpc.chat.v1.answer.get", GetAnswer, AnswerState, {"answer_id": posted.answer_id}),
        ]
        for subject, request, response, fields in calls:
            with pytest.raises(NotFound):
                await person.request(subject, request, response, **fields)


async def test_nobody_else_reaches_a_session(stack: TestStack, documents: Documents, person: Person, wire: Wire) -> None:
    documents.add(APPLES)
    colleague = Person(wire, workspace_id=person.workspace_id)
    elsewhere = Person(wire, user_id=person.user_id)
    async with running_chat(stack):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, "How many apples?")
        for stranger in (colleague, elsewhere):
            calls: list[tuple[str, Any, Any, dict[str, Any]]] = [
                ("rpc.chat.v1.session.open", OpenSession, SessionOpened, {"session_id": session_id}),
                ("rpc.chat.v1.message.list", ListMessages, MessageList, {"session_id": session_id}),
                ("rpc.chat.v1.session.delete", DeleteSession, SessionDeleted, {"session_id": session_id}),
                ("rpc.chat.v1.answer.get", GetAnswer, AnswerState, {"answer_id": posted.answer_id}),
            ]
            for subject, request, response, fields in calls:
                with pytest.raises(NotFound):
                    await stranger.request(subject, request, response, **fields)
            listed = await stranger.request("rpc.chat.v1.session.list", ListSessions, SessionList)
            assert (listed.items, listed.total) == ([], 0)
            # Also a forged event of a stranger reaches nothing.
            _, frames = await stranger.ask(session_id, "How many apples?")
            assert (frames[-1].kind, frames[-1].code) == (FrameKind.ERROR, "session_not_found")
        own = await person.request("rpc.chat.v1.message.list", ListMessages, MessageList, session_id=session_id)
    assert len(own.items) == 2


async def test_session_deleted_during_an_answer_ends_it_with_an_error(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(APPLES)
    model.script(Reply(["The harvest", " was 412 tonnes [1]."], delay=10))
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        posted = await person.post(session_id, "How many apples?")

        async def asked() -> bool:
            return bool(model.requests)

        await wait_until(asked, seconds=SECONDS, what="the model is asked")
        await person.request("rpc.chat.v1.session.delete", DeleteSession, SessionDeleted, session_id=session_id)
        frames = await person.frames_until_final(posted)
    assert (frames[-1].kind, frames[-1].code) == (FrameKind.ERROR, "session_not_found")


async def test_deletion_and_the_end_of_an_answer_at_the_same_time_do_not_block_each_other(
    stack: TestStack, person: Person
) -> None:
    async with running_chat(stack) as db:
        session_id = await person.open_session()
        posted = person.message(session_id, "How many apples?")
        async with db.transaction(Cause.new()) as transaction:
            await repository.begin_answer(transaction.session, posted)
        answer = Answer(
            answer_id=posted.answer_id,
            session_id=session_id,
            message_id=posted.message_id,
            response="412 tonnes.",
            supported=False,
            citations=[],
            created_at=datetime.now(UTC),
        )

        async def delete() -> bool:
            async with db.transaction(Cause.new()) as transaction:
                return await session_repository.delete_session(
                    transaction.session, person.workspace_id, person.user_id, session_id
                )

        async def complete() -> bool:
            async with db.transaction(Cause.new()) as transaction:
                return await repository.complete_answer(transaction.session, answer)

        async def waiting(count: int) -> None:
            # Of rows: the server's own processes wait for other things.
            locks = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('tuple', 'transactionid')")

            async def reached() -> bool:
                async with db.read() as session:
                    return int(await session.scalar(locks) or 0) >= count

            await wait_until(reached, seconds=SECONDS, what=f"{count} transactions wait")

        async with db.transaction(Cause.new()) as holding:
            keys = {"session_id": session_id}
            await holding.session.execute(text("SELECT FROM sessions WHERE session_id = :session_id FOR UPDATE"), keys)
            deleting = asyncio.create_task(delete())
            await waiting(1)
            completing = asyncio.create_task(complete())
            await waiting(2)
        assert await deleting
        assert not await completing


async def test_session_deleted_after_frames_were_sent_is_told_behind_them(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(APPLES)
    async with running_chat(stack):
        session_id = await person.open_session()
        posted, first = await person.ask(session_id, "How many apples?")
        await person.request("rpc.chat.v1.session.delete", DeleteSession, SessionDeleted, session_id=session_id)
        await wire.send(envelope_for(posted))
        frames = await person.frames_until_final(posted, finals=2)
    assert [frame.index for frame in frames] == list(range(len(first) + 1))
    assert frames[-1].code == "session_not_found"


async def test_questions_at_the_same_time_are_all_answered(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(APPLES)
    async with running_chat(stack):
        session_id = await person.open_session()
        answers = await asyncio.gather(*(person.ask(session_id, f"How many apples, {number}?") for number in range(12)))
        listed = await person.request("rpc.chat.v1.message.list", ListMessages, MessageList, session_id=session_id)
    assert all(frames[-1].kind is FrameKind.DONE for _, frames in answers)
    assert len(listed.items) == 24


async def test_unknown_answer_is_not_found(stack: TestStack, wire: Wire, person: Person) -> None:
    async with running_chat(stack):
        with pytest.raises(NotFound):
            await person.request("rpc.chat.v1.answer.get", GetAnswer, AnswerState, answer_id=uuid7())

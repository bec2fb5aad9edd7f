"""Workspaces and people that are erased: nothing is left, nothing comes back, nobody else notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from docutalk_chat.adapters import erasure_repository, session_repository
from docutalk_chat.adapters.models import messages, sessions
from docutalk_chat.use_cases.erase_user import SUBJECTS_AT_ONCE
from docutalk_chat.use_cases.erase_workspace import erase_workspace
from docutalk_common.contracts.chat import (
    ChangeChatSettings,
    ChatSettings,
    FrameKind,
    ImportSessions,
    OpenSession,
    SessionOpened,
    SessionsImported,
)
from docutalk_common.contracts.envelope import Envelope, uuid7
from docutalk_common.contracts.gateway import NO_WORKSPACE, UserDeleted, WorkspaceDeleted
from docutalk_common.contracts.ingest import DocumentDeleted, DocumentReady
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging import event_log
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.streams import EVENTS, durable
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.leftovers import leftovers
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack
from sqlalchemy import insert, select, text

from .world import SECONDS, Documents, Person, running_chat

PLANTED = "Zanzibarium"
HARVEST = f"The harvest of 2021 was 412 tonnes of {PLANTED}.\nThe rain came late."
QUESTION = f"How many tonnes of {PLANTED} was the harvest of 2021?"
TOMBSTONES = "erased"


async def taken(wire: Wire, name: str) -> None:
    """Waits until a consumer has nothing left to do."""
    await wait_until(lambda: wire.settled(durable(name)), seconds=SECONDS, what=f"{name} is done")


async def erase(wire: Wire, event: WorkspaceDeleted | UserDeleted) -> list[dict[str, Any]]:
    """Sends the deletion, and waits for all parts of the receipt; returns them."""
    await wire.send(envelope_for(event))
    found: list[dict[str, Any]] = []

    async def told() -> bool:
        found[:] = await receipts(wire, event.erasure_id)
        return bool(found) and len(found) >= found[0]["parts"]

    await wait_until(told, seconds=SECONDS, what="the receipt is there")
    await taken(wire, "chat-workspace-deleted" if isinstance(event, WorkspaceDeleted) else "chat-user-deleted")
    return found


async def receipts(wire: Wire, erasure_id: UUID) -> list[dict[str, Any]]:
    stored = await event_log.read(wire.nc, EVENTS, f"evt.chat.v1.data.erased.*.{erasure_id}")
    return [Envelope.model_validate_json(item.data).data for item in stored]


async def unsent(db: Database) -> None:
    """Waits until nothing waits to be sent: the receipt itself names the workspace."""

    async def sent() -> bool:
        async with db.read() as session:
            return not await session.scalar(text("SELECT count(*) FROM outbox"))

    await wait_until(sent, seconds=SECONDS, what="everything is sent")


async def converse(person: Person, documents: Documents) -> set[UUID]:
    """Conversations with answers, one that is stopped before it begins, settings, and documents that changed or went. Returns
    the ids of all of it."""
    used = {person.user_id}
    await person.request("rpc.chat.v1.settings.change", ChangeChatSettings, ChatSettings, changes=["passages"], passages=7)
    for _ in range(2):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, QUESTION, document_ids=[one.document_id for one in documents.passages])
        waiting = person.message(session_id, "And?")
        await person.stop(waiting)
        used |= {session_id, posted.message_id, posted.answer_id, waiting.answer_id}
    cited, changed = documents.passages[0].document_id, uuid7()
    for event in (
        DocumentDeleted(workspace_id=person.workspace_id, document_id=cited, object_keys=[]),
        DocumentReady(workspace_id=person.workspace_id, document_id=changed, version=2, page_count=1, chunk_count=1),
    ):
        await person.wire.send(envelope_for(event))
    await taken(person.wire, "chat-document-deleted")
    await taken(person.wire, "chat-document-ready")
    return used | {cited, changed}


async def test_nothing_of_an_erased_workspace_is_left_and_others_are_as_they_were(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    elsewhere = Person(wire, user_id=person.user_id)
    colleague = Person(wire, workspace_id=person.workspace_id)
    async with running_chat(stack) as db:
        session_id = await elsewhere.open_session()
        await elsewhere.ask(session_id, "How many tonnes was the harvest of 2021?")
        used = await converse(person, documents) | await converse(colleague, documents)
        kept = await elsewhere.messages(session_id)
        event = WorkspaceDeleted(workspace_id=person.workspace_id, erasure_id=uuid7())
        [receipt] = await erase(wire, event)
        await unsent(db)
        mine = used - {person.user_id, *(one.document_id for one in documents.passages)}
        assert await leftovers(db, [f"of {PLANTED} was the harvest", *mine], but=[TOMBSTONES]) == {}
        assert list(await leftovers(db, [person.workspace_id])) == [TOMBSTONES]
        assert await elsewhere.messages(session_id) == kept
        assert kept[1].citations
    assert receipt["removed"] == {
        "sessions": 4,
        "messages": 8,
        "answers": 4,
        "citations": 4,
        "document_marks": 3,
        "settings": 1,
    }
    assert receipt["subjects"] == []


async def test_nothing_comes_back_of_an_erased_workspace(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack) as db:
        posted, _ = await person.ask(await person.open_session(), QUESTION)
        event = WorkspaceDeleted(workspace_id=person.workspace_id, erasure_id=uuid7())
        await erase(wire, event)
        _, frames = await person.ask(posted.session_id, QUESTION)
        assert frames[-1].code == "session_not_found"
        late = uuid7()
        for message in (
            posted,
            DocumentDeleted(workspace_id=person.workspace_id, document_id=late, object_keys=[]),
            DocumentReady(workspace_id=person.workspace_id, document_id=late, version=2, page_count=1, chunk_count=1),
            event,
        ):
            await wire.send(envelope_for(message))
        for name in ("message-posted", "document-deleted", "document-ready", "workspace-deleted"):
            await taken(wire, f"chat-{name}")
        with pytest.raises(NotFound):
            await person.open_session()
        with pytest.raises(NotFound):
            await person.request("rpc.chat.v1.settings.change", ChangeChatSettings, ChatSettings, changes=["passages"])
        with pytest.raises(RequestFailed, match="deleted") as refused:
            await person.request("rpc.chat.v1.session.import", ImportSessions, SessionsImported)
        assert refused.value.code == "conflict"
        await unsent(db)
        assert list(await leftovers(db, [person.workspace_id, posted.session_id, posted.message_id, late])) == [TOMBSTONES]
    assert len(await receipts(wire, event.erasure_id)) == 1


async def test_answer_that_is_being_made_ends_at_once_and_is_not_stored(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(Reply(["It was 412 tonnes [1]. ", *["And so on. "] * 1000], delay=0.05))
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny") as db:
        posted = await person.post(await person.open_session(), QUESTION)
        await person.until_text(posted)
        await erase(wire, WorkspaceDeleted(workspace_id=person.workspace_id, erasure_id=uuid7()))
        async with asyncio.timeout(10):
            await model.abandoned.wait()
        frames = await person.frames_until_final(posted)
        await taken(wire, "chat-message-posted")
        await unsent(db)
        assert list(await leftovers(db, [person.workspace_id, posted.answer_id, posted.session_id])) == [TOMBSTONES]
    assert (frames[-1].kind, frames[-1].code) == (FrameKind.ERROR, "session_not_found")


async def test_erasure_waits_for_a_session_that_is_just_being_opened_and_removes_it(stack: TestStack, person: Person) -> None:
    async with running_chat(stack) as db:
        for event in (
            WorkspaceDeleted(workspace_id=person.workspace_id, erasure_id=uuid7()),
            UserDeleted(user_id=person.user_id, erasure_id=uuid7()),
        ):
            owners = [uuid7(), uuid7()]
            if isinstance(event, WorkspaceDeleted):
                owners[0] = person.workspace_id
            else:
                owners[1] = person.user_id
            async with db.transaction(Cause.new()) as storing:
                assert await erasure_repository.may_store(storing.session, *owners)
                session_id = await session_repository.create_session(storing.session, owners[0], owners[1])
                erasing = asyncio.create_task(erase(person.wire, event))
                done, _ = await asyncio.wait([erasing], timeout=0.5)
                assert not done
            await asyncio.wait_for(erasing, SECONDS)
            assert await leftovers(db, [session_id]) == {}


async def test_erasure_that_was_killed_goes_on_and_tells_of_all_of_it(stack: TestStack, person: Person) -> None:
    event = WorkspaceDeleted(workspace_id=person.workspace_id, erasure_id=uuid7())
    count = erasure_repository.SESSIONS_AT_ONCE + 1
    async with running_chat(stack) as db:

        async def handled() -> None:
            await erase_workspace(event, Delivery(envelope_for(event), 1, "chat-test", db))

        async def left() -> int:
            async with db.read() as session:
                found = select(sessions.c.session_id).where(sessions.c.workspace_id == person.workspace_id)
                return len((await session.scalars(found)).all())

        async def has_begun() -> bool:
            return await left() == 1

        await _fill(db, person.workspace_id, person.user_id, sessions_=count, questions=1)
        async with db.transaction(Cause.new()) as holding:
            last = select(sessions.c.session_id).where(sessions.c.workspace_id == person.workspace_id)
            await holding.session.execute(last.order_by(sessions.c.session_id.desc()).limit(1).with_for_update())
            erasing = asyncio.create_task(handled())
            await wait_until(has_begun, seconds=SECONDS, what="the first sessions are gone")
            erasing.cancel()
            await asyncio.gather(erasing, return_exceptions=True)
        assert await left() == 1
        await handled()
        assert await left() == 0

        async def told() -> bool:
            return bool(await receipts(person.wire, event.erasure_id))

        await wait_until(told, seconds=SECONDS, what="the receipt is there")
    [receipt] = await receipts(person.wire, event.erasure_id)
    assert (receipt["removed"]["sessions"], receipt["removed"]["messages"]) == (count, count)


async def test_person_is_erased_in_every_workspace_and_the_log_is_told_where_their_words_stand(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    elsewhere = Person(wire, user_id=person.user_id)
    colleague = Person(wire, workspace_id=person.workspace_id)
    async with running_chat(stack) as db:
        asked = []
        for who in (person, elsewhere):
            posted, _ = await who.ask(await who.open_session(), QUESTION)
            asked.append(posted)
        kept, _ = await colleague.ask(await colleague.open_session(), "How many tonnes was the harvest of 2021?")
        before = await colleague.messages(kept.session_id)
        event = UserDeleted(user_id=person.user_id, erasure_id=uuid7())
        [receipt] = await erase(wire, event)
        await wire.send(envelope_for(event))
        await taken(wire, "chat-user-deleted")
        ids = [id_ for one in asked for id_ in (one.session_id, one.message_id, one.answer_id)]
        await unsent(db)
        assert await leftovers(db, [f"of {PLANTED} was the harvest", *ids]) == {}
        assert list(await leftovers(db, [person.user_id])) == [TOMBSTONES]
        assert await colleague.messages(kept.session_id) == before
        # Nothing comes back: neither a late question nor a new conversation.
        _, frames = await person.ask(asked[0].session_id, QUESTION)
        assert frames[-1].code == "session_not_found"
        for subject, request, response in (
            ("rpc.chat.v1.session.open", OpenSession, SessionOpened),
            ("rpc.chat.v1.session.import", ImportSessions, SessionsImported),
        ):
            with pytest.raises(RequestFailed, match="deleted"):
                await elsewhere.request(subject, request, response)
    assert len(await receipts(wire, event.erasure_id)) == 1
    assert receipt["workspace_id"] == str(NO_WORKSPACE)
    assert receipt["removed"] == {"sessions": 2, "messages": 4, "answers": 2, "citations": 2}
    assert sorted(receipt["subjects"]) == sorted(f"evt.gateway.v1.message.posted.*.{one.message_id}" for one in asked)
    # The filters find what they are to find, and nothing of the colleague.
    for filter_, one in zip(sorted(receipt["subjects"]), sorted(asked, key=lambda one: str(one.message_id)), strict=True):
        found = await event_log.read(wire.nc, EVENTS, filter_)
        assert {Envelope.model_validate_json(item.data).data["message_id"] for item in found} == {str(one.message_id)}


async def test_person_who_asked_much_gets_a_receipt_in_parts(stack: TestStack, wire: Wire, person: Person) -> None:
    async with running_chat(stack) as db:
        questions = SUBJECTS_AT_ONCE // 2 + 1
        asked = await _fill(db, person.workspace_id, person.user_id, sessions_=2, questions=questions)
        parts = await erase(wire, UserDeleted(user_id=person.user_id, erasure_id=uuid7()))
    parts.sort(key=lambda part: part["part"])
    assert [(part["part"], part["parts"]) for part in parts] == [(1, 2), (2, 2)]
    assert [len(part["subjects"]) for part in parts] == [SUBJECTS_AT_ONCE, 2]
    subjects = [subject.rpartition(".")[2] for part in parts for subject in part["subjects"]]
    assert sorted(subjects) == sorted(map(str, asked))
    removed: Counter[str] = Counter()
    for part in parts:
        removed.update(part["removed"])
    assert removed == {"sessions": 2, "messages": 2 * questions, "answers": 0, "citations": 0}


async def test_person_who_never_asked_anything_gets_a_receipt_too(stack: TestStack, wire: Wire) -> None:
    async with running_chat(stack):
        [receipt] = await erase(wire, UserDeleted(user_id=uuid7(), erasure_id=uuid7()))
    assert (receipt["subjects"], receipt["part"], receipt["parts"]) == ([], 1, 1)
    assert set(receipt["removed"].values()) <= {0}


async def _fill(db: Database, workspace_id: UUID, user_id: UUID, *, sessions_: int, questions: int) -> list[UUID]:
    """Conversations of nothing but questions; their ids."""
    asked: list[UUID] = []
    async with db.transaction(Cause.new()) as transaction:
        for _ in range(sessions_):
            session_id = await session_repository.create_session(transaction.session, workspace_id, user_id)
            ids = [uuid7() for _ in range(questions)]
            rows = [{"message_id": id_, "session_id": session_id, "role": "user", "text": "Why?"} for id_ in ids]
            await transaction.session.execute(insert(messages), rows)
            asked += ids
    return asked

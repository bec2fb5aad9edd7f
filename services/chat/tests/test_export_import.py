"""Conversations that are carried from one place to another: everything arrives as it was, or nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from docutalk_chat.adapters.models import sessions
from docutalk_chat.domain.export_place import ExportPlace
from docutalk_chat.use_cases.export_sessions import PAGE_BYTES, export_sessions
from docutalk_chat.use_cases.import_sessions import import_sessions
from docutalk_common.contracts.chat import (
    AnswerRated,
    Citation,
    DeleteSession,
    ExportedMessage,
    ExportedSession,
    ExportedSessions,
    ExportSessions,
    ImportSessions,
    KnownSessions,
    ListSessions,
    OpenSession,
    RateAnswer,
    SessionDeleted,
    SessionList,
    SessionOpened,
    SessionsImported,
    SessionsKnown,
    Usage,
)
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.messaging.streams import durable
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from .world import SECONDS, Documents, Person, answering, running_chat

HARVEST = "The harvest of 2021 was 412 tonnes of apples.\nThe rain came late."
QUESTION = "How many tonnes of apples was the harvest of 2021?"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
ids = st.uuids(allow_nil=False)
times = st.datetimes(timezones=st.just(UTC))
counts = st.integers(0, (1 << 31) - 1)
maybe = st.none()
filters = st.builds(SearchFilters, document_ids=st.lists(ids, min_size=1, max_size=3), languages=st.lists(words, max_size=2))
citations = st.builds(
    Citation,
    marker=counts,
    document_id=ids,
    version=counts,
    filename=words,
    page=counts,
    start=counts,
    end=counts,
    quote=words,
    source_deleted_at=maybe | times,
    source_changed_at=maybe | times,
)
answers = st.fixed_dictionaries(
    {
        "text": words,
        "citations": st.lists(citations, max_size=2),
        "supported": st.booleans(),
        "stopped": st.booleans(),
        "truncated": st.booleans(),
        "model": maybe | words,
        "usage": maybe | st.builds(Usage, input_tokens=counts, output_tokens=counts, cost_usd=maybe | st.floats(0, 1e9)),
        "markers_removed": counts,
        "rating": st.sampled_from([None, 1, -1]),
        "comment": maybe | words,
        "created_at": times,
    }
)
questions = st.fixed_dictionaries(
    {"text": words, "selected_text": maybe | words, "filters": maybe | filters, "created_at": times}
)
conversations = st.lists(st.tuples(questions, st.lists(answers, max_size=3)), max_size=3)
titled = st.tuples(words.filter(str.strip), times, times, conversations)


def built(drawn: list[Any]) -> ExportedSessions:
    """As one page, under new ids, in their order."""
    carried, said = [], []
    new = sorted(uuid7() for _ in drawn)
    for session_id, (title, created_at, updated_at, conversation) in zip(new, drawn, strict=True):
        carried.append(ExportedSession(session_id=session_id, title=title, created_at=created_at, updated_at=updated_at))
        for question, replies in conversation:
            asked = ExportedMessage(session_id=session_id, message_id=uuid7(), role="user", **question)
            about = {"session_id": session_id, "role": "assistant", "reply_to": asked.message_id}
            said += [asked, *(ExportedMessage(message_id=uuid7(), **about, **reply) for reply in replies)]
    return ExportedSessions(sessions=carried, messages=said)


@pytest.fixture
async def db(stack: TestStack) -> AsyncIterator[Database]:
    """That of the running service."""
    async with running_chat(stack) as db:
        yield db


async def exported(db: Database, person: Person, *, most_bytes: int = PAGE_BYTES) -> ExportedSessions:
    """All pages together; what each page refers to was on it or before."""
    pages: list[ExportedSessions] = []
    after: str | None = None
    while not pages or after is not None:
        request = ExportSessions(workspace_id=person.workspace_id, user_id=person.user_id, after=after)
        pages.append(page := await export_sessions(db, request, most_bytes=most_bytes))
        after = page.next
        seen = {session.session_id for one in pages for session in one.sessions}
        assert {message.session_id for message in page.messages} <= seen
        assert page.sessions or page.messages or len(pages) == 1
    return ExportedSessions(
        sessions=[session for page in pages for session in page.sessions],
        messages=[message for page in pages for message in page.messages],
    )


async def imported(db: Database, person: Person, carried: ExportedSessions) -> SessionsImported:
    """In this person's name."""
    owner = {"workspace_id": person.workspace_id, "user_id": person.user_id}
    request = ImportSessions(**owner, sessions=carried.sessions, messages=carried.messages)
    return await import_sessions(db, request, Cause.new())


@settings(max_examples=40)
@given(drawn=st.lists(titled, max_size=3), cut=st.integers(0, 12), most_bytes=st.integers(1, 2_000))
async def test_what_was_imported_is_exported_as_it_was_in_pages_of_any_size(
    db: Database, wire: Wire, drawn: list[Any], cut: int, most_bytes: int
) -> None:
    carried, person, other = built(drawn), Person(wire), Person(wire)
    told = SessionsImported(sessions=len(carried.sessions), messages=len(carried.messages))
    # Sessions in another order, and messages on a page after theirs.
    await imported(db, person, ExportedSessions(sessions=carried.sessions[::-1]))
    await imported(db, person, ExportedSessions(messages=carried.messages[:cut]))
    assert await imported(db, person, carried) == told
    assert await exported(db, person) == carried
    assert await exported(db, person, most_bytes=most_bytes) == carried
    # Asking again does no harm.
    assert await imported(db, person, carried) == told
    assert await exported(db, person) == carried
    if carried.sessions:
        with pytest.raises(RequestFailed, match="belongs to something else"):
            await imported(db, other, carried)
    assert await exported(db, other) == ExportedSessions()
    # Elsewhere, where nobody knows the ids.
    async with db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(delete(sessions).where(sessions.c.user_id == person.user_id))
    await imported(db, other, carried)
    assert await exported(db, other) == carried


async def carry(person: Person, to: Person) -> ExportedSessions:
    """Exports and imports by request, page by page."""
    after: str | None = None
    pages: list[ExportedSessions] = []
    while not pages or after is not None:
        page = await person.request("rpc.chat.v1.session.export", ExportSessions, ExportedSessions, after=after)
        pages.append(page)
        after = page.next
    for session in {session.session_id for page in pages for session in page.sessions}:
        await person.request("rpc.chat.v1.session.delete", DeleteSession, SessionDeleted, session_id=session)
    for page in pages:
        fields = {"sessions": page.sessions, "messages": page.messages}
        await to.request("rpc.chat.v1.session.import", ImportSessions, SessionsImported, **fields)
    return ExportedSessions(
        sessions=[session for page in pages for session in page.sessions],
        messages=[message for page in pages for message in page.messages],
    )


async def test_conversation_goes_on_and_is_found_where_it_was_carried_to(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    cited = documents.add(HARVEST).document_id
    model.default = lambda request: Reply.text("It was 412 tonnes of apples [1]." if request.body.get("stream") else "And rain?")
    to = Person(wire)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, QUESTION, selected_text="412 tonnes", document_ids=[cited])
        again = person.message(session_id, QUESTION).model_copy(update={"message_id": posted.message_id})
        await wire.send(envelope_for(again))
        await person.frames_until_final(again)
        rating = {"answer_id": posted.answer_id, "rating": -1, "comment": "No."}
        await person.request("rpc.chat.v1.answer.rate", RateAnswer, AnswerRated, session_id=session_id, **rating)
        await wire.send(envelope_for(DocumentDeleted(workspace_id=person.workspace_id, document_id=cited, object_keys=[])))
        taken = durable("chat-document-deleted")
        await wait_until(lambda: wire.settled(taken), seconds=SECONDS, what="chat takes the deletion")
        before, state = await person.messages(session_id), await person.state(posted)
        carried = await carry(person, to)

        assert await to.messages(session_id) == before
        assert await to.state(posted) == state
        assert (await to.question(posted)).filters == SearchFilters(document_ids=[cited])
        for q in ("412", '"tonnes of apples"', QUESTION):
            found = await to.request("rpc.chat.v1.session.list", ListSessions, SessionList, q=q)
            assert [session.session_id for session in found.items] == [session_id]
            assert found.items[0].updated_at == carried.sessions[0].updated_at
        await to.ask(session_id, "And the rain?")
        said = [turn["content"].rpartition("\n")[2] for turn in answering(model)[-1].messages[1:]]
        assert said == [QUESTION, "It was 412 tonnes of apples [1].", "And the rain?"]
        assert [message.role for message in await to.messages(session_id)] == ["user", *["assistant"] * 2, "user", "assistant"]
    [first, _] = [message for message in carried.messages if message.role == "assistant"]
    assert (first.rating, first.comment, first.usage is not None) == (-1, "No.", True)
    assert first.citations[0].source_deleted_at is not None


async def test_what_nobody_is_shown_or_has_no_answer_yet_is_not_exported(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny") as db:
        opened = await person.request("rpc.chat.v1.session.open", OpenSession, SessionOpened, transient=True)
        await person.ask(opened.session_id, QUESTION, turns=[])
        await person.open_session()
        model.script(Reply(status=401))
        failed, _ = await person.ask(await person.open_session(), QUESTION)
        carried = await exported(db, person)
        known = await _known(person, [failed.answer_id, failed.message_id, failed.session_id, uuid7(), opened.session_id])
    assert [session.session_id for session in carried.sessions] == [failed.session_id]
    assert [message.message_id for message in carried.messages] == [failed.message_id]
    assert known == [failed.answer_id, failed.message_id, failed.session_id, opened.session_id]


async def test_long_conversations_come_in_pages_that_fit_into_a_message(db: Database, wire: Wire, person: Person) -> None:
    session = ExportedSession(session_id=uuid7(), title="Long", created_at=NOON, updated_at=NOON)
    asked = [
        ExportedMessage(session_id=session.session_id, message_id=uuid7(), role="user", text="ж" * 60_000, created_at=NOON)
        for _ in range(20)
    ]
    to = Person(wire)
    for first in range(0, len(asked), 4):
        await imported(db, person, ExportedSessions(sessions=[session], messages=asked[first : first + 4]))
    carried = await carry(person, to)
    assert carried.messages == asked
    assert await exported(db, to) == carried


async def test_place_in_the_conversation_of_somebody_else_shows_nothing_of_it(db: Database, wire: Wire, person: Person) -> None:
    carried = one_conversation()
    await imported(db, person, carried)
    stranger, colleague = Person(wire), Person(wire, workspace_id=person.workspace_id)
    for who in (stranger, colleague, Person(wire, user_id=person.user_id)):
        after = str(ExportPlace(carried.sessions[0].session_id))
        page = await who.request("rpc.chat.v1.session.export", ExportSessions, ExportedSessions, after=after)
        assert page == ExportedSessions()


@pytest.mark.parametrize("after", ["", "x", f"{UUID(int=1)}.1", f"{UUID(int=1)}.-1.0", f"{UUID(int=1)}.0.{1 << 63}"])
async def test_place_that_is_none_is_refused(db: Database, person: Person, after: str) -> None:
    with pytest.raises(RequestFailed) as refused:
        await person.request("rpc.chat.v1.session.export", ExportSessions, ExportedSessions, after=after)
    assert refused.value.code == "invalid"


def one_conversation() -> ExportedSessions:
    """A question with its answer, and another question."""
    citation = Citation(marker=1, document_id=uuid7(), filename="a.pdf", page=1, start=0, end=3, quote="The")
    reply = {"text": "The [1]", "supported": True, "citations": [citation], "created_at": NOON}
    asked = [{"text": text, "created_at": NOON} for text in ("Which?", "And?")]
    return built([("Of apples", NOON, NOON, [(asked[0], [reply]), (asked[1], [])])])


Change = Callable[[ExportedMessage, UUID], dict[str, object]]


@pytest.mark.parametrize(
    ("number", "change", "code"),
    [
        (2, lambda message, strange: {"session_id": uuid7()}, "invalid"),
        (2, lambda message, strange: {"session_id": strange}, "conflict"),
        (2, lambda message, strange: {"message_id": strange}, "conflict"),
        (2, lambda message, strange: {"text": "a\0b"}, "invalid"),
        (2, lambda message, strange: {"text": "a" * 100_001}, "invalid"),
        (2, lambda message, strange: {"created_at": NOON.replace(tzinfo=None)}, "invalid"),
        (1, lambda message, strange: {"reply_to": uuid7()}, "invalid"),
        (1, lambda message, strange: {"reply_to": strange}, "invalid"),
        (1, lambda message, strange: {"reply_to": message.message_id}, "invalid"),
        (1, lambda message, strange: {"reply_to": None}, "invalid"),
        (1, lambda message, strange: {"supported": None}, "invalid"),
        (1, lambda message, strange: {"rating": 5}, "invalid"),
        (1, lambda message, strange: {"markers_removed": 1 << 31}, "invalid"),
        (1, lambda message, strange: {"message_id": strange}, "conflict"),
    ],
)
async def test_all_or_nothing_is_imported(
    db: Database, wire: Wire, person: Person, number: int, change: Change, code: str
) -> None:
    strange = one_conversation()
    # One id for a session, and for its question.
    both = strange.sessions[0].session_id
    said = [message.model_copy(update={"session_id": both}) for message in strange.messages[2:]]
    strange = ExportedSessions(sessions=strange.sessions, messages=[said[0].model_copy(update={"message_id": both})])
    await imported(db, Person(wire), strange)
    carried = one_conversation()
    carried.messages[number] = carried.messages[number].model_copy(update=change(carried.messages[number], both))
    with pytest.raises(RequestFailed) as refused:
        await imported(db, person, carried)
    assert refused.value.code == code
    assert await exported(db, person) == ExportedSessions()
    async with db.read() as session:
        mine = select(sessions.c.session_id).where(sessions.c.user_id == person.user_id)
        assert list(await session.scalars(mine)) == []


async def test_id_of_an_answer_that_failed_is_taken(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(Reply(status=401))
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny") as db:
        failed, _ = await person.ask(await person.open_session(), QUESTION)
        carried = one_conversation()
        carried.messages[1] = carried.messages[1].model_copy(update={"message_id": failed.answer_id})
        with pytest.raises(RequestFailed) as refused:
            await imported(db, person, carried)
        assert refused.value.code == "conflict"
        assert len((await exported(db, person)).sessions) == 1


async def test_conversation_without_a_title_is_refused(db: Database, person: Person) -> None:
    session = ExportedSession(session_id=uuid7(), title=" ", created_at=NOON, updated_at=NOON)
    with pytest.raises(RequestFailed, match="has no title"):
        await imported(db, person, ExportedSessions(sessions=[session]))


async def test_same_page_imported_twice_at_once_is_there_once_and_of_two_people_one_has_it(
    db: Database, wire: Wire, person: Person
) -> None:
    carried = one_conversation()
    await asyncio.gather(*(imported(db, person, carried) for _ in range(4)))
    assert await exported(db, person) == carried

    wanted, people = one_conversation(), [Person(wire) for _ in range(3)]
    outcomes = await asyncio.gather(*(imported(db, who, wanted) for who in people), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RequestFailed)]
    assert [error.code for error in refused] == ["conflict", "conflict"]
    assert sorted([len((await exported(db, who)).messages) for who in people]) == [0, 0, 3]


async def _known(person: Person, asked: list[UUID]) -> list[UUID]:
    client = RequestClient(lambda: person.wire.nc)
    found = await client.ask("rpc.chat.v1.session.known", KnownSessions(ids=asked), SessionsKnown, timeout=5)
    return found.ids


async def test_thousand_ids_may_be_asked_about_and_no_more(db: Database, person: Person) -> None:
    carried = one_conversation()
    await imported(db, person, carried)
    asked = [uuid7() for _ in range(999)] + [carried.messages[1].message_id]
    assert await _known(person, asked) == asked[-1:]
    with pytest.raises(RequestFailed, match="1,001 ids are too many"):
        await _known(person, [*asked, uuid7()])

"""The running service without a language model: answers are extracts."""

from __future__ import annotations

import time

import pytest
from docutalk_chat.domain.answers import NOTHING_FOUND
from docutalk_common.contracts.chat import (
    Frame,
    FrameKind,
    ListMessages,
    ListSessions,
    MessageList,
    SessionList,
)
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire
from docutalk_local.testing import TestStack
from nats.aio.msg import Msg

from .factories import passage
from .world import SECONDS, Documents, Person, listen, running_chat, text_of

BALANCE_SHEET = """CONSOLIDATED BALANCE SHEETS
(in thousands)
2017 2016
Total current assets 7,669,974 5,720,291
Total current liabilities 5,466,312 4,586,657
Long-term debt 6,499,432 3,364,311
"""
QUESTION = "What were the total current liabilities of Netflix in 2017?"


async def test_answer_quotes_the_row_streams_and_is_stored(stack: TestStack, documents: Documents, person: Person) -> None:
    passage = documents.add(BALANCE_SHEET, page=45, filename="NETFLIX_2017_10K.pdf")
    documents.add("Weather is what it is.", filename="other.txt")
    async with running_chat(stack):
        session_id = await person.open_session()
        posted, frames = await person.ask(session_id, QUESTION)
        state = await person.state(posted)
        events = await person.events(posted, count=2)
        messages = await person.request("rpc.chat.v1.message.list", ListMessages, MessageList, session_id=session_id)
        sessions = await person.request("rpc.chat.v1.session.list", ListSessions, SessionList)

    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [frame.kind for frame in frames] == [FrameKind.START, FrameKind.DELTA, FrameKind.CITATION, FrameKind.DONE]
    answer = frames[-1].answer
    assert answer is not None
    assert answer.response == text_of(frames) == "Total current liabilities 5,466,312 4,586,657 [1]"
    assert answer.supported
    (citation,) = answer.citations
    assert (citation.marker, citation.filename, citation.page) == (1, "NETFLIX_2017_10K.pdf", 45)
    assert citation.document_id == passage.document_id
    assert BALANCE_SHEET[citation.start : citation.end] == citation.quote == "Total current liabilities 5,466,312 4,586,657"
    assert state.answer is not None
    assert state.answer.model_dump(exclude={"created_at"}) == answer.model_dump(exclude={"created_at"})
    assert events == ["chat.answer.started.v1", "chat.answer.completed.v1"]
    assert [(message.role, message.text) for message in messages.items] == [("user", QUESTION), ("assistant", answer.response)]
    assert messages.items[1].citations == [citation]
    assert [session.title for session in sessions.items] == [QUESTION]
    assert (documents.searches[0].workspace_id, documents.searches[0].query) == (person.workspace_id, QUESTION)


async def test_question_about_nothing_in_the_documents_is_answered_so(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    documents.add(BALANCE_SHEET)
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), "How do I bake sourdough bread?")
    answer = frames[-1].answer
    assert answer is not None
    assert (answer.supported, answer.citations, answer.response) == (False, [], NOTHING_FOUND)


async def test_workspace_without_documents_is_answered_so(stack: TestStack, documents: Documents, person: Person) -> None:
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), QUESTION)
    assert frames[-1].answer is not None
    assert not frames[-1].answer.supported


async def test_quote_that_does_not_stand_on_the_page_is_never_sent(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    passage = documents.add(BALANCE_SHEET)
    documents.pages[passage.document_id, 1] = "x" + BALANCE_SHEET
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), QUESTION)
    assert FrameKind.CITATION not in [frame.kind for frame in frames]
    assert frames[-1].answer is not None
    assert not frames[-1].answer.supported
    assert text_of(frames) == NOTHING_FOUND


async def test_meaning_finds_what_words_do_not(stack: TestStack, wire: Wire, person: Person) -> None:
    question = "Did the enterprise shrink its workforce?"
    documents = Documents(vectors={question: [1.0, 0.0], "Staff numbers were cut by a fifth.": [0.9, 0.1]})
    documents.add("The sun shone all day. Staff numbers were cut by a fifth. Nobody minded the rain.")
    async with documents.served(wire), running_chat(stack):
        _, frames = await person.ask(await person.open_session(), question)
    assert text_of(frames) == "Staff numbers were cut by a fifth. [1]"


async def test_search_that_is_not_there_fails_the_answer_within_two_seconds(stack: TestStack, wire: Wire, person: Person) -> None:
    async with running_chat(stack):
        posted, frames, seconds = await _fastest_of_three(person)
        state = await person.state(posted)
        events = await person.events(posted, count=2)
    assert seconds < 2
    assert [frame.kind for frame in frames] == [FrameKind.START, FrameKind.ERROR]
    assert frames[-1].code == state.code == "search_unavailable"
    assert frames[-1].reason == state.reason
    assert "not available" in str(state.reason)
    assert events == ["chat.answer.started.v1", "chat.answer.failed.v1"]


async def test_search_that_hangs_fails_the_answer_within_two_seconds(stack: TestStack, wire: Wire, person: Person) -> None:
    asked: list[Msg] = []

    async def never(message: Msg) -> None:
        asked.append(message)

    async def all_asked() -> bool:
        return len(asked) == 6

    async with listen(wire, "rpc.embed.v1.passage.search", never), running_chat(stack):
        _, frames, seconds = await _fastest_of_three(person)
        await wait_until(all_asked, seconds=SECONDS, what="each search was asked for twice")
    assert seconds < 2
    assert frames[-1].code == "search_unavailable"


async def _fastest_of_three(person: Person) -> tuple[MessagePosted, list[Frame], float]:
    """An answer, and its seconds: a machine that stalls adds to one of them."""
    tries = []
    for _ in range(3):
        session_id = await person.open_session()
        started = time.monotonic()
        posted, frames = await person.ask(session_id, QUESTION)
        tries.append((time.monotonic() - started, posted, frames))
    seconds, posted, frames = min(tries, key=lambda one: one[0])
    return posted, frames, seconds


async def test_pages_that_cannot_be_read_fail_the_answer_with_a_reason(stack: TestStack, wire: Wire, person: Person) -> None:
    documents = Documents()
    documents.add(BALANCE_SHEET, filename="NETFLIX_2017_10K.pdf")
    async with documents.served(wire), running_chat(stack):
        # A document that ingest refuses to speak about: this answer has no page to check its quotes against.
        documents.pages = None  # type: ignore[assignment]
        _, frames = await person.ask(await person.open_session(), QUESTION)
    assert frames[-1].code == "pages_unavailable"


async def test_question_with_characters_that_cannot_be_stored_is_answered(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    documents.add(BALANCE_SHEET, filename="NETFLIX_2017_10K.pdf")
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), "\0" + QUESTION, selected_text="\0")
    assert frames[-1].answer is not None
    assert frames[-1].answer.supported


async def test_filter_by_documents_reaches_the_search(stack: TestStack, documents: Documents, person: Person) -> None:
    passage = documents.add(BALANCE_SHEET)
    async with running_chat(stack):
        await person.ask(await person.open_session(), QUESTION, document_ids=[passage.document_id])
    assert documents.searches[0].filters.document_ids == [passage.document_id]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_question_about_somebody_whom_no_document_names_is_not_answered_with_what_is_said_of_others(
    stack: TestStack, documents: Documents, person: Person, elsewhere: bool
) -> None:
    documents.add("In 2022 the revenue of Verizon rose to 136 billion dollars.")
    if elsewhere:
        # The name of a whole report need not stand in the passage that answers.
        documents.hidden.append(passage("The annual report of Tesla."))
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), "What was the revenue of Tesla in 2022?")
    assert frames[-1].answer is not None
    assert frames[-1].answer.supported == elsewhere
    assert documents.probes[-1].query == "Tesla"


async def test_question_full_of_names_is_not_looked_up_name_by_name(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    documents.add("In 2022 the revenue of Verizon rose to 136 billion dollars.")
    names = ", ".join(f"Name{letter * 3}" for letter in "abcdefghijklmnopqrstuvwxyz")
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), f"What was the revenue of {names} in 2022?")
    assert frames[-1].kind is FrameKind.DONE
    assert documents.probes == []

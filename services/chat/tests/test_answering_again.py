"""A question that is answered again: both answers stay, and the conversation goes on from the newer one."""

from __future__ import annotations

import pytest
from docutalk_common.contracts.chat import AnswerRated, FrameKind, GetQuestion, Question, RateAnswer
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack

from .world import Documents, Person, answering, running_chat

HARVEST = "The harvest of 2021 was 412 tonnes of apples.\nThe rain came late."


async def again(person: Person, posted: MessagePosted) -> MessagePosted:
    """Asks for another answer to the same question, as the gateway does, and waits for it."""
    question: Question = await person.request(
        "rpc.chat.v1.question.get", GetQuestion, Question, session_id=posted.session_id, message_id=posted.answer_id
    )
    message = person.message(
        posted.session_id, question.text, selected_text=question.selected_text, filters=question.filters
    ).model_copy(update={"message_id": question.message_id})
    await person.wire.send(envelope_for(message))
    frames = await person.frames_until_final(message)
    assert frames[-1].kind is FrameKind.DONE
    return message


async def test_both_answers_stay_and_the_newer_one_is_the_context_of_what_follows(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    said = iter(["First: 412 tonnes [1].", "Second: 412 tonnes [1].", "It was late [1]."])
    model.default = lambda request: Reply.text(next(said) if request.body.get("stream") else "When did the rain come?")
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, "How was the harvest?")
        second = await again(person, posted)
        await person.ask(session_id, "And the rain?")
        messages = await person.messages(session_id)
    assert [(m.role, m.text) for m in messages] == [
        ("user", "How was the harvest?"),
        ("assistant", "First: 412 tonnes [1]."),
        ("assistant", "Second: 412 tonnes [1]."),
        ("user", "And the rain?"),
        ("assistant", "It was late [1]."),
    ]
    assert [m.chosen for m in messages] == [True, False, True, True, True]
    assert [m.reply_to for m in messages[1:3]] == [posted.message_id] * 2
    assert [m.message_id for m in messages[1:3]] == [posted.answer_id, second.answer_id]
    contexts = [[turn["content"].rpartition("\n")[2] for turn in request.messages[1:]] for request in answering(model)]
    assert contexts == [
        ["How was the harvest?"],
        ["How was the harvest?"],
        ["How was the harvest?", "Second: 412 tonnes [1].", "And the rain?"],
    ]


async def test_answer_that_was_stopped_before_its_first_word_leaves_the_one_before_it_chosen(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.default = lambda request: Reply.text("412 tonnes [1]." if request.body.get("stream") else "And the rain?")
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, "How was the harvest?")
        stopped = person.message(session_id, posted.text).model_copy(update={"message_id": posted.message_id})
        await person.stop(stopped)
        await person.wire.send(envelope_for(stopped))
        await person.frames_until_final(stopped)
        await person.ask(session_id, "And the rain?")
        messages = await person.messages(session_id)
    assert [(m.text, m.chosen) for m in messages[1:3]] == [("412 tonnes [1].", True), ("", False)]
    said = [turn["content"].rpartition("\n")[2] for turn in answering(model)[-1].messages[1:]]
    assert said == ["How was the harvest?", "412 tonnes [1].", "And the rain?"]


async def test_earlier_question_is_answered_again_in_its_own_place_and_context(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        first, _ = await person.ask(session_id, "One?")
        await person.ask(session_id, "Two?")
        await again(person, first)
        messages = await person.messages(session_id)
        part = [*await person.messages(session_id, offset=1, limit=2), *await person.messages(session_id, offset=3, limit=9)]
    assert [m.text for m in messages if m.role == "user"] == ["One?", "Two?"]
    assert [m.role for m in messages] == ["user", "assistant", "assistant", "user", "assistant"]
    assert part == messages[1:]
    assert [turn["content"].rpartition("\n")[2] for turn in answering(model)[-1].messages[1:]] == ["One?"]


async def test_question_is_answered_again_with_its_selection_and_its_documents(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    filters = SearchFilters(document_ids=[uuid7()], languages=["en"])
    async with running_chat(stack):
        posted, _ = await person.ask(
            await person.open_session(), "Which tonnes of apples?", selected_text="412 tonnes", filters=filters
        )
        await again(person, posted)
    # A search that takes long is asked once more.
    assert len(documents.searches) >= 2
    assert all(search.filters == filters for search in documents.searches)
    assert all("412 tonnes" in search.query for search in documents.searches)


async def test_rating_is_kept_changed_and_taken_back(stack: TestStack, wire: Wire, documents: Documents, person: Person) -> None:
    documents.add(HARVEST)

    async def rate(who: Person, rating: int | None, comment: str | None = None) -> AnswerRated:
        fields = {"session_id": posted.session_id, "answer_id": posted.answer_id, "rating": rating, "comment": comment}
        rated: AnswerRated = await who.request("rpc.chat.v1.answer.rate", RateAnswer, AnswerRated, **fields)
        return rated

    async with running_chat(stack):
        posted, _ = await person.ask(await person.open_session(), "How many tonnes of apples?")
        kept = []
        for rating, comment in ((-1, "Wrong\0 year"), (1, None), (None, "nothing")):
            await rate(person, rating, comment)
            [_, answer] = await person.messages(posted.session_id)
            kept.append((answer.rating, answer.comment))
        with pytest.raises(RequestFailed, match="1, -1"):
            await rate(person, 5)
        with pytest.raises(NotFound):
            await rate(Person(wire, workspace_id=person.workspace_id), 1)
    assert kept == [(-1, "Wrong\ufffd year"), (1, None), (None, None)]


async def test_question_whose_answer_failed_says_why_and_can_be_answered_again(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(Reply(status=401))
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        posted, _ = await person.ask(await person.open_session(), "How was the harvest?")
        [question] = await person.messages(posted.session_id)
        await again(person, posted)
        messages = await person.messages(posted.session_id)
    assert question.code == "model_unauthorized"
    assert question.reason
    assert [m.role for m in messages] == ["user", "assistant"]
    assert messages[0].code is None

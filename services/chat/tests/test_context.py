"""What a language model is sent of a conversation: what is looked for, what fits, and what it counted."""

from __future__ import annotations

import asyncio
import re

from docutalk_chat.adapters.language_model import REWRITING_SECONDS
from docutalk_chat.use_cases.answer_message import PREPARED_AT_ONCE
from docutalk_common.contracts.chat import FrameKind, ListSessions, OpenSession, SessionList, SessionOpened, Turn
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.process import wait_until
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack

from .world import SECONDS, Documents, Person, answering, running_chat, text_of

HARVEST = "The harvest of 2021 was 412 tonnes of apples.\nThe rain came late."
HANGING = Reply(first_delay=3600)
MANY = 5 * PREPARED_AT_ONCE


async def test_follow_up_question_is_searched_as_it_stands_alone(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    alone = 'How many tonnes of "apples" were harvested in 2020?'
    model.default = lambda request: Reply.text("412 tonnes [1]." if request.body.get("stream") else f"\n{alone}\n")
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        await person.ask(session_id, "How many tonnes of apples were harvested in 2021?")
        _, frames = await person.ask(session_id, "And the year before that one?")
    assert documents.searches[-1].query == alone.replace('"', " ")
    # It is answered as it was asked, with the conversation before it.
    assert answering(model)[-1].messages[-1]["content"].endswith("Question:\nAnd the year before that one?")
    [rewriting] = [request for request in model.requests if not request.body.get("stream")]
    content = rewriting.messages[-1]["content"]
    fence = re.search(
        r"<conversation-(\w+)>\nuser: How many tonnes.*\nassistant: 412 tonnes \[1\]\.\n</conversation-\1>", content
    )
    assert fence is not None
    assert f"<last-{fence[1]}>\nAnd the year before that one?\n</last-{fence[1]}>" in content
    assert fence[1] in rewriting.messages[0]["content"]
    answer = frames[-1].answer
    assert answer is not None
    assert answer.usage is not None
    # Both calls count.
    assert answer.usage.input_tokens == sum(len(" ".join(m["content"] for m in r.messages).split()) for r in model.requests[-2:])


async def test_question_that_cannot_be_rewritten_is_searched_with_the_one_before(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.default = lambda request: Reply.text("412 [1].") if request.body.get("stream") else Reply(status=400)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        await person.ask(session_id, "How many apples?")
        _, frames = await person.ask(session_id, "And pears?")
    assert documents.searches[-1].query == "How many apples?\nAnd pears?"
    assert text_of(frames).startswith("412")
    assert REWRITING_SECONDS <= 15


async def test_conversation_of_the_client_is_the_context_and_no_session_shows_it(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    turns = [Turn(role="user", text=f"Said {n}") for n in range(12)] + [Turn(role="assistant", text=" ")]
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        opened = await person.request("rpc.chat.v1.session.open", OpenSession, SessionOpened, transient=True)
        await person.ask(opened.session_id, "And now?", turns=turns, temperature=0.25, max_tokens=77)
        history = await person.messages(opened.session_id)
        listed = await person.request("rpc.chat.v1.session.list", ListSessions, SessionList)
    [request] = answering(model)
    said = [message["content"].rpartition("\n")[2] for message in request.messages[1:]]
    assert said == [*(f"Said {n}" for n in range(3, 12)), "And now?"]
    assert (request.body["temperature"], request.body["max_tokens"]) == (0.25, 77)
    assert [m.text for m in history if m.role == "user"] == ["And now?"]
    assert (listed.items, listed.total) == ([], 0)


async def test_older_messages_then_passages_by_score_are_left_out_of_a_small_window(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    for number in range(6):
        text = f"Passage {number}. " + "The harvest was good and the rain came late in that year. " * 12
        found = documents.add(text, page=number + 1)
        documents.passages[-1] = found.model_copy(update={"score": 0.9 - number / 10})
    turns = [Turn(role="user", text=f"Said {n}. " + "Many words were said of it. " * 30) for n in range(8)]

    async def sent(window: int) -> tuple[int, list[str]]:
        async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny", llm_context_tokens=window):
            await person.ask(await person.open_session(), "How was the harvest in that year?", turns=turns)
        request = answering(model)[-1]
        return len(request.messages) - 2, re.findall(r"\nPassage (\d)\.", request.messages[-1]["content"])

    assert await sent(32_000) == (8, list("012345"))
    said, passages = await sent(4096)
    assert 0 < said < 8
    assert passages == list("012345")
    said, passages = await sent(1800)
    assert said == 0
    assert passages == list("012345")[: len(passages)]
    assert 0 < len(passages) < 6
    # What was estimated is not below what a common tokenizer counts: about four characters a token.
    request = answering(model)[-1]
    assert sum(len(message["content"]) for message in request.messages) / 4 < 1800 * 2 / 3


async def test_window_that_was_guessed_too_large_is_halved_until_the_model_takes_it(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    for number in range(10):
        documents.add(f"Passage {number}. " + "The harvest was good and the rain came late in that year. " * 20, page=number + 1)
    too_long = {"message": "This model's maximum context length is 2048 tokens", "code": "context_length_exceeded"}

    def reply(_: object) -> Reply:
        size = sum(len(message["content"]) for message in model.requests[-1].messages)
        return Reply(status=400, error=too_long) if size > 8_000 else Reply.text("The rain came late [1].")

    model.default = reply
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        _, frames = await person.ask(await person.open_session(), "How was the harvest in that year?")
    answer = frames[-1].answer
    assert answer is not None, frames[-1]
    assert answer.supported
    assert len(model.requests) == 3


async def test_question_that_fits_into_no_window_is_told(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny", llm_context_tokens=1024):
        _, frames = await person.ask(await person.open_session(), "How was the harvest? " * 900)
    assert frames[-1].code == "model_context_exceeded"
    assert "1024 tokens" in (frames[-1].reason or "")
    assert model.requests == []


async def test_tokens_and_cost_are_counted_for_each_answer(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.script(Reply.text("It was 412 tonnes [1]."))
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="gpt-4.1-mini"):
        posted, frames = await person.ask(await person.open_session(), "How was the harvest?")
        state = await person.state(posted)
        [_, message] = await person.messages(posted.session_id)
    assert state.answer is not None
    assert state.answer == frames[-1].answer
    usage = state.answer.usage
    assert usage is not None
    assert usage.output_tokens == 5
    assert (message.model, message.usage) == ("gpt-4.1-mini", usage)


async def test_many_answers_at_once_lose_no_frame(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    release = asyncio.Event()
    model.default = Reply([f"word{number} " for number in range(40)], delay=0.02, hold=release)
    posted: list[MessagePosted] = []

    async def all_asked() -> bool:
        return len(model.requests) == len(posted)

    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        while len(posted) < MANY:
            posted.append(await person.post(await person.open_session(), "How was the harvest?"))
            # None waits for another to end.
            await wait_until(all_asked, seconds=SECONDS, what="every question is with the model", every=0.01)
        release.set()
        answers = [await person.frames_until_final(one) for one in posted]
    for frames in answers:
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert frames[-1].answer is not None
        assert text_of(frames) == frames[-1].answer.response
        assert text_of(frames).count("word") == 40


async def test_model_that_hangs_over_conversations_keeps_nobody_else_from_an_answer(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    model.default = lambda request: Reply.text("412 tonnes of apples [1].") if request.body.get("stream") else HANGING
    before = [Turn(role="user", text="How was the harvest?"), Turn(role="assistant", text="412 tonnes [1].")]
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        hanging = [await person.post(session_id, f"And {number}?", turns=before) for number in range(PREPARED_AT_ONCE)]

        async def all_hang() -> bool:
            return len(model.requests) == len(hanging)

        await wait_until(all_hang, seconds=SECONDS, what="the model is asked to rewrite all of them")
        _, frames = await person.ask(await person.open_session(), "How was the harvest?")
        others = [frame for posted in hanging for frame in await person.frames(posted)]
        for posted in hanging:
            await person.stop(posted)
    assert frames[-1].answer is not None
    assert {frame.kind for frame in others} == {FrameKind.START}

"""The same chat for clients of OpenAI: their own client against the gateway."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx2
import openai
import pytest
from docutalk_common.contracts import chat
from docutalk_common.contracts.chat import Frame, FrameKind
from docutalk_common.process import wait_until
from docutalk_gateway.api.openai_chat import BEGINS_AGAIN, SOURCES, sources

ANSWER = 'It is so [1].\n\n**Sources**\n\n\\[1\\] a.pdf, p. 3: "true"'
ASK = [{"role": "user", "content": "Is it so?"}]


def client_of(gateway: Any, key: str) -> openai.AsyncOpenAI:
    """Their client as people set it up, without its retries."""
    # Nothing here speaks TLS, and loading the certificates takes longer than most tests.
    http = httpx2.AsyncClient(verify=False)
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, http_client=http)


@pytest.fixture
async def key(person: Any) -> str:
    """An API key of the module's account."""
    made = await person.http.post("/api/v1/users/me/api-keys", json={"name": "test"})
    return str(made.json()["key"])


@pytest.fixture
async def ai(gateway: Any, key: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The client with that key."""
    async with client_of(gateway, key) as client:
        yield client


async def ask(ai: openai.AsyncOpenAI, person: Any, messages: Any = ASK, **options: Any) -> Any:
    """One answer, or its chunks."""
    return await ai.chat.completions.create(model=str(person.workspace), messages=messages, **options)


# Models ----------------------------------------------------------------------------------------------------------


async def test_workspaces_are_models(ai: openai.AsyncOpenAI, account: Any, person: Any) -> None:
    models = [model async for model in ai.models.list()]
    assert {str(account.workspace), str(person.workspace)} <= {model.id for model in models}
    one = await ai.models.retrieve(str(person.workspace))
    assert (one.id, one.object, one.owned_by, one.model_extra) == (str(person.workspace), "model", "docutalk", {"name": "New"})
    assert one.created > 1_700_000_000


async def test_model_is_named_by_the_workspace_in_any_case(ai: openai.AsyncOpenAI, person: Any) -> None:
    await person.http.patch(f"/api/v1/workspaces/{person.workspace}", json={"name": "Lab Notes / 2026"})
    assert (await ai.models.retrieve("lab notes / 2026")).id == str(person.workspace)


async def test_unknown_model_is_told_with_those_there_are(ai: openai.AsyncOpenAI, account: Any, gateway: Any) -> None:
    stranger = await gateway.person()
    for model in ("gpt-4o", str(stranger.workspace), "x" * 900):
        with pytest.raises(openai.NotFoundError) as refused:
            await ai.chat.completions.create(model=model, messages=ASK)
        assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
        assert f"My documents ({account.workspace})" in refused.value.message
        assert str(stranger.workspace) not in refused.value.message.partition("There are:")[2]


async def test_name_of_two_workspaces_does_not_choose_one(ai: openai.AsyncOpenAI, person: Any) -> None:
    for _ in range(2):
        await person.http.post("/api/v1/workspaces", json={"name": "Twins"})
    with pytest.raises(openai.NotFoundError, match="Several of your workspaces are called 'twins'"):
        await ai.models.retrieve("twins")


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["dtk_wrong", "sk-proj-1"])
async def test_wrong_key_is_refused_as_openai_does(gateway: Any, key: str) -> None:
    async with client_of(gateway, key) as ai:
        with pytest.raises(openai.AuthenticationError) as refused:
            await ai.models.list()
    assert (refused.value.code, refused.value.type) == ("invalid_api_key", "authentication_error")
    assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"


async def test_access_token_opens_it_too(gateway: Any, person: Any) -> None:
    async with client_of(gateway, person.http.headers["Authorization"].removeprefix("Bearer ")) as ai:
        assert (await ai.models.list()).data


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/v1/chat/completions", {"model": "x"}, 400, "messages"),
        ("POST", "/v1/chat/completions", {"model": "x", "messages": []}, 400, "messages"),
        ("POST", "/v1/chat/completions", {"model": "x", "messages": ASK, "temperature": 3}, 400, "temperature"),
        ("POST", "/v1/embeddings", {"input": "x"}, 400, "model"),
        ("POST", "/v1/responses", {}, 404, None),
        ("DELETE", "/v1/models", None, 405, None),
        ("GET", "/v1/models/a%00b", None, 404, "model"),
    ],
)
async def test_error_has_the_shape_of_openai(
    person: Any, method: str, path: str, body: Any, status: int, param: str | None
) -> None:
    answer = await person.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_body_that_is_too_large_or_no_json_has_the_shape_of_openai(person: Any) -> None:
    large = await person.http.post("/v1/embeddings", content=b"x" * (5 << 20), headers={"Content-Type": "application/json"})
    broken = await person.http.post("/v1/embeddings", content=b"{", headers={"Content-Type": "application/json"})
    assert (large.status_code, large.json()["error"]["type"]) == (413, "invalid_request_error")
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_chat_that_is_away_is_a_server_error(ai: openai.AsyncOpenAI, person: Any) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        await ask(ai, person)
    assert (failed.value.status_code, failed.value.code) == (503, "unavailable")
    assert failed.value.response.headers["Retry-After"] == "2"


async def test_too_many_questions_are_a_rate_limit(gateway_with: Any, chat_service: Any) -> None:
    async with gateway_with(chat_messages_per_minute=1) as other:
        person = await other.person()
        made = await person.http.post("/api/v1/users/me/api-keys", json={"name": "test"})
        async with client_of(other, made.json()["key"]) as ai:
            await ask(ai, person)
            with pytest.raises(openai.RateLimitError) as refused:
                await ask(ai, person)
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_exceeded")
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 60


# Chat ------------------------------------------------------------------------------------------------------------


async def test_answer_has_its_sources_as_text_and_as_data(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    answer = await ask(ai, person)
    [posted] = chat_service.posted
    assert answer.id == f"chatcmpl-{posted.answer_id.hex}"
    assert answer.model == str(person.workspace)
    assert abs(answer.created - posted.answer_id.int / (1 << 80) / 1000) < 1
    [choice] = answer.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (ANSWER, "assistant", "stop")
    evidence = choice.message.model_extra["docutalk"]
    assert (evidence["supported"], evidence["answer_id"]) == (True, str(posted.answer_id))
    assert evidence["citations"][0]["quote"] == "true"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (0, 0, 0)
    assert (posted.text, posted.turns, posted.system_prompt) == ("Is it so?", [], None)
    assert (posted.workspace_id, posted.user_id) == (person.workspace, person.id)


async def test_conversation_of_the_client_goes_with_the_question(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    await person.http.patch(f"/api/v1/workspaces/{person.workspace}", json={"system_prompt": "Be kind."})
    earlier = [{"role": role, "content": f"{role} {n}"} for n in range(6) for role in ("user", "assistant")]
    messages = [
        {"role": "system", "content": "Answer in rhyme."},
        *earlier,
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "a"},
        {"role": "user", "content": "x" * 30_000},
        {"role": "assistant", "content": ANSWER},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "why? "}]},
    ]
    ignored = {"tools": [], "top_p": 0.1, "user": "u", "stop": ["x"], "seed": 1, "response_format": {"type": "json_object"}}
    await ask(ai, person, messages, temperature=0.2, max_completion_tokens=99, **ignored)
    [posted] = chat_service.posted
    assert posted.text == "And\nwhy?"
    assert [(turn.role, turn.text) for turn in posted.turns] == [
        *[(message["role"], message["content"]) for message in earlier[-7:]],
        ("user", "x" * 20_000),
        ("assistant", "It is so [1]."),
    ]
    assert posted.system_prompt == "Be kind.\n\nAnswer in rhyme.\n\nBe brief."
    assert (posted.temperature, posted.max_tokens) == (0.2, 99)
    assert chat_service.transient == [posted.session_id]


@pytest.mark.parametrize(
    ("messages", "options", "reason"),
    [
        ([{"role": "assistant", "content": "Hi"}], {}, "The last message must be the question"),
        ([{"role": "user", "content": " \n"}], {}, "is empty"),
        ([{"role": "user", "content": None}], {}, "is empty"),
        ([{"role": "user", "content": "x" * 20_001}], {}, "A question may have 20,000 characters; this one has 20,001."),
        ([{"role": "system", "content": "x" * 20_001}, *ASK], {}, "System messages may have 20,000 characters together"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], {}, "'image_url' cannot be answered"),
        (ASK, {"n": 2}, "leave n out"),
        ([{"role": "user", "content": "a\x00b"}], {}, "not allowed"),
    ],
)
async def test_question_that_can_not_be_answered_is_refused_with_the_reason(
    chat_service: Any, ai: openai.AsyncOpenAI, person: Any, messages: Any, options: Any, reason: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=reason):
        await ask(ai, person, messages, **options)
    assert chat_service.posted == []


async def test_stream_gives_the_same_answer_piece_by_piece(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    stream = await ask(ai, person, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{chat_service.posted[0].answer_id.hex}"}
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content for chunk in chunks[1:-2]]
    assert pieces == ["It ", "is ", "so ", "[1].", ANSWER.removeprefix("It is so [1].")]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-2].model_extra["docutalk"]["citations"][0]["marker"] == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 0


async def test_answer_that_was_cut_ends_for_its_length(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    chat_service.truncated = True
    whole = await ask(ai, person)
    stream = await ask(ai, person, stream=True)
    reasons = [chunk.choices[0].finish_reason async for chunk in stream]
    assert whole.choices[0].finish_reason == reasons[-1] == "length"


async def test_stream_is_what_openai_sends_byte_for_byte(chat_service: Any, person: Any) -> None:
    body = {"model": str(person.workspace), "messages": ASK, "stream": True}
    answer = await person.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.split("\n\n")
    assert all(block.startswith("data: {") for block in blocks[:-2])
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert '"usage"' not in answer.text


async def test_failure_of_an_answer_is_an_error_in_both_modes(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    chat_service.error = ("model_unavailable", "The model is away.")
    with pytest.raises(openai.InternalServerError) as failed:
        await ask(ai, person)
    assert (failed.value.status_code, failed.value.code) == (503, "model_unavailable")
    stream = await ask(ai, person, stream=True)
    with pytest.raises(openai.APIError, match="The model is away") as broken:
        [chunk async for chunk in stream]
    assert broken.value.code == "model_unavailable"
    assert chat_service.stopped == []


async def test_answer_that_begins_again_says_so(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    chat_service.hold = asyncio.Event()
    stream = await ask(ai, person, stream=True)
    posted = await chat_service.first_question()
    await asyncio.wait_for(chat_service.held.wait(), 20)  # it has sent its own
    index = len(chat_service.words) + 2
    again = [(FrameKind.START, None), (FrameKind.DELTA, "It is "), (FrameKind.DELTA, "not.")]
    for offset, (kind, text) in enumerate(again):
        await chat_service.send(posted, Frame(answer_id=posted.answer_id, index=index + offset, kind=kind, text=text))
    answer = chat.Answer(
        answer_id=posted.answer_id,
        session_id=posted.session_id,
        message_id=posted.message_id,
        response="It is not.",
        supported=False,
        citations=[],
        created_at="2026-01-01T00:00:00Z",
        usage=chat.Usage(input_tokens=5, output_tokens=3),
    )
    last = Frame(answer_id=posted.answer_id, index=index + len(again), kind=FrameKind.DONE, answer=answer)
    await chat_service.send(posted, last)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    chat_service.hold.set()
    assert text == "It is so [1]." + BEGINS_AGAIN + "It is not."


async def test_answer_whose_frames_got_lost_arrives_whole(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    chat_service.silent = True
    stream = await ask(ai, person, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == ANSWER


@pytest.mark.parametrize("stream", [True, False])
async def test_client_that_goes_away_stops_the_answer(
    chat_service: Any, ai: openai.AsyncOpenAI, person: Any, stream: bool
) -> None:
    chat_service.hold = asyncio.Event()
    asking = asyncio.create_task(ask(ai, person, stream=stream))
    posted = await chat_service.first_question()
    if stream:
        chunks = await asking
        assert (await anext(aiter(chunks))).choices
        await chunks.close()
    else:
        asking.cancel()

    async def stopped() -> bool:
        return bool(chat_service.stopped == [posted.answer_id])

    await wait_until(stopped, seconds=20, what="the answer was stopped")
    chat_service.hold.set()


async def test_client_that_stays_to_the_end_stops_nothing(chat_service: Any, ai: openai.AsyncOpenAI, person: Any) -> None:
    await ask(ai, person)
    [chunk async for chunk in await ask(ai, person, stream=True)]
    assert chat_service.stopped == []


async def test_server_that_stops_ends_the_stream_with_an_error(gateway_with: Any, chat_service: Any) -> None:
    chat_service.hold = asyncio.Event()
    async with gateway_with() as other:
        person = await other.person()
        token = person.http.headers["Authorization"].removeprefix("Bearer ")
        ai = client_of(other, token)
        stream = await ask(ai, person, stream=True)
        reading = asyncio.create_task(_read(stream))
        await chat_service.first_question()
    with pytest.raises(openai.APIError, match="The server stops"):
        await reading
    chat_service.hold.set()
    await ai.close()


async def _read(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


def answer_with(*citations: chat.Citation) -> chat.Answer:
    """An answer with these sources."""
    return chat.Answer(
        answer_id=UUID(int=1),
        session_id=UUID(int=2),
        message_id=UUID(int=3),
        response="x",
        supported=True,
        citations=list(citations),
        created_at="2026-01-01T00:00:00Z",
    )


def citation(marker: int, filename: str, quote: str) -> chat.Citation:
    """A citation of page 1."""
    return chat.Citation(marker=marker, document_id=UUID(int=7), filename=filename, page=1, start=0, end=len(quote), quote=quote)


def test_sources_make_no_markup_of_names_and_quotes() -> None:
    said = sources(answer_with(citation(1, "<img src=x>.pdf", "a\n\n# [b](http://c) `d`"), citation(2, "b.pdf", "y" * 400)))
    first, second = said.removeprefix(SOURCES).splitlines()
    assert first.rstrip() == '\\[1\\] \\<img src=x\\>.pdf, p. 1: "a \\# \\[b\\](http://c) \\`d\\`"'
    assert second == f'\\[2\\] b.pdf, p. 1: "{"y" * 299}…"'


# Embeddings ------------------------------------------------------------------------------------------------------


async def test_embeddings_come_in_order_in_both_encodings(embed_service: Any, ai: openai.AsyncOpenAI) -> None:
    texts = ["word " * n for n in range(1, 201)]
    # Their client asks for base64 by itself.
    packed = await ai.embeddings.create(model="minilm", input=texts)
    assert [len(request.texts) for request in embed_service.asked] == [64, 64, 64, 8]
    assert (packed.model, [item.index for item in packed.data]) == ("minilm", list(range(200)))
    assert [item.embedding for item in packed.data] == [[0.5, float(len(text))] for text in texts]
    plain = await ai.embeddings.create(model="minilm", input=texts[:3], encoding_format="float", dimensions=2)
    assert [item.embedding for item in plain.data] == [item.embedding for item in packed.data[:3]]
    assert plain.usage.prompt_tokens == plain.usage.total_tokens == 6


async def test_base64_is_float32_little_endian(embed_service: Any, person: Any) -> None:
    body = {"model": str(person.workspace), "input": "four", "encoding_format": "base64"}
    answer = await person.http.post("/v1/embeddings", json=body)
    assert struct.unpack("<2f", base64.b64decode(answer.json()["data"][0]["embedding"])) == (0.5, 4.0)
    assert answer.json()["model"] == "minilm"


async def test_long_texts_are_embedded_a_few_at_a_time(embed_service: Any, ai: openai.AsyncOpenAI) -> None:
    await ai.embeddings.create(model="minilm", input=["ü" * 100_000] * 5)
    assert [len(request.texts) for request in embed_service.asked] == [2, 2, 1]


@pytest.mark.parametrize(
    ("given", "options", "reason"),
    [
        ("", {}, "An empty text has no vector"),
        (["a", " "], {}, "An empty text has no vector"),
        ([], {}, "Send 1 to 2,048 texts"),
        (["a"] * 2049, {}, "Send 1 to 2,048 texts; these are 2,049"),
        ([1, 2, 3], {}, "Send texts"),
        ([[1, 2], [3]], {}, "Send texts"),
        (["x" * 100_001], {}, "A text may have 100,000 characters"),
        ("a", {"dimensions": 3}, "have 2 dimensions"),
        ("a", {"encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_input_that_can_not_be_embedded_is_refused_with_the_reason(
    embed_service: Any, ai: openai.AsyncOpenAI, given: Any, options: Any, reason: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=reason):
        await ai.embeddings.create(model="minilm", input=given, **options)


async def test_unknown_embedding_model_is_told_with_the_one_there_is(embed_service: Any, ai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There is: minilm") as refused:
        await ai.embeddings.create(model="text-embedding-3-small", input="a")
    assert refused.value.code == "model_not_found"


async def test_embed_that_fails_in_the_middle_fails_the_request(embed_service: Any, ai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="being loaded") as failed:
        await ai.embeddings.create(model="minilm", input=["a"] * 200 + ["unspeakable"] + ["a"] * 200)
    assert failed.value.code == "unavailable"

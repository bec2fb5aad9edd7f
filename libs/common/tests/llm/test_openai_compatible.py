"""The client against a real server that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from docutalk_common.llm import Endpoint, LanguageModel, ModelError, ModelMessage, connect
from docutalk_common.llm.model import ANTHROPIC, OPENAI
from docutalk_common.testing.llm_server import MODEL, Reply, ScriptedModel

HELLO = [ModelMessage("system", "Be brief."), ModelMessage("user", "Hello?")]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as server:
        yield server


@pytest.fixture
async def model(server: ScriptedModel) -> AsyncIterator[LanguageModel]:
    model = connect(Endpoint(server.base_url, "tiny", "secret"))
    yield model
    await model.close()


async def test_answer_arrives_piece_by_piece(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["Hel", "lo ", "wörld", "."]))
    async with model.stream(HELLO) as texts:
        assert [text async for text in texts] == ["Hel", "lo ", "wörld", "."]
    assert server.requests[0].body == {
        "model": "tiny",
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
    }
    assert server.requests[0].authorization == "Bearer secret"


async def test_characters_that_cannot_be_stored_are_taken_out(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["a\0b", "\ud83d", "🍎é", "\0"]))
    async with model.stream(HELLO) as texts:
        assert [text async for text in texts] == ["ab", "\ufffd", "🍎é"]


async def test_first_piece_is_there_before_the_last_is_made(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["a", "b"], delay=30))
    async with asyncio.timeout(10), model.stream(HELLO) as texts:
        assert await anext(aiter(texts)) == "a"


async def test_leaving_early_ends_the_request_at_the_server(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["x"] * 1000, delay=0.02))
    async with model.stream(HELLO) as texts:
        await anext(aiter(texts))
    async with asyncio.timeout(10):
        await server.abandoned.wait()


async def test_without_a_model_name_the_first_listed_is_used(server: ScriptedModel) -> None:
    model = connect(Endpoint(server.base_url))
    assert await model.complete(HELLO) == "Yes."
    assert server.requests[0].body["model"] == MODEL
    await model.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "model_unauthorized"),
        (403, "model_unauthorized"),
        (404, "model_rejected"),
        (400, "model_rejected"),
        (429, "model_rate_limited"),
        (500, "model_unavailable"),
        (503, "model_unavailable"),
    ],
)
async def test_refusal_is_named_and_not_tried_twice(server: ScriptedModel, model: LanguageModel, status: int, code: str) -> None:
    server.script(Reply(status=status))
    with pytest.raises(ModelError) as raised:
        await model.complete(HELLO)
    assert raised.value.code == code
    assert "secret" not in str(raised.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [Reply("abc", cut_after=2), Reply("abc", end_after=2), Reply("abc", error_after=2)])
async def test_answer_that_breaks_off_is_an_error_after_its_pieces(
    server: ScriptedModel, model: LanguageModel, reply: Reply
) -> None:
    server.script(reply)
    pieces: list[str] = []

    async def read() -> None:
        async with model.stream(HELLO) as texts:
            async for text in texts:
                pieces.append(text)  # noqa: PERF401, the pieces before the error count

    with pytest.raises(ModelError) as raised:
        await read()
    assert pieces == ["a", "b"]
    assert raised.value.code == "model_interrupted"


async def test_endpoint_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = connect(Endpoint(f"http://127.0.0.1:{port}/v1", "tiny"))
    with pytest.raises(ModelError) as raised:
        await model.complete(HELLO)
    assert raised.value.code == "model_unavailable"
    await model.close()


async def test_endpoint_that_is_silent_times_out(server: ScriptedModel) -> None:
    server.script(Reply(first_delay=30))
    model = connect(Endpoint(server.base_url, "tiny", silence_timeout=0.2))
    with pytest.raises(ModelError) as raised:
        await model.complete(HELLO)
    assert raised.value.code == "model_timeout"
    await model.close()


def choose(**given: str) -> Endpoint | None:
    names = ("base_url", "model", "api_key", "openai_api_key", "anthropic_api_key")
    return Endpoint.choose(**{name: given.get(name) for name in names})


def test_no_settings_mean_no_model() -> None:
    assert choose() is None
    assert choose(model="x") is None


def test_own_address_comes_before_the_keys_of_providers() -> None:
    endpoint = choose(base_url="http://127.0.0.1:11434/v1", model="m", anthropic_api_key="a")
    assert endpoint == Endpoint("http://127.0.0.1:11434/v1", "m", None)


def test_key_of_openai_alone_is_enough() -> None:
    endpoint = choose(openai_api_key="k")
    assert endpoint is not None
    assert (endpoint.base_url, endpoint.api_key) == (OPENAI, "k")
    assert endpoint.model


def test_key_of_anthropic_alone_means_its_compatible_endpoint() -> None:
    endpoint = choose(anthropic_api_key="k")
    assert endpoint is not None
    assert (endpoint.base_url, endpoint.api_key) == (ANTHROPIC, "k")
    assert endpoint.model


def test_key_is_not_in_the_representation() -> None:
    assert "hidden" not in repr(Endpoint("http://x/v1", api_key="hidden"))

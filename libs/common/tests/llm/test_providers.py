"""What holds for every wire format, against a real server that speaks it."""

from __future__ import annotations

import asyncio
import socket
import traceback

import pytest
from docutalk_common.llm import Completion, LanguageModel, ModelError, ModelOptions, ModelUsage, ProviderName
from docutalk_common.process import cancel_all
from docutalk_common.testing.llm_server import MODEL, Reply, ScriptedModel

from .asking import HELLO, Connect, pieces_of

KNOWN = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5"}


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> ProviderName:
    provider: ProviderName = request.param
    return provider


@pytest.fixture
def model(connected: Connect, provider: ProviderName) -> LanguageModel:
    return connected(provider=provider)


async def test_answer_arrives_piece_by_piece(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["Hel", "lo ", "wörld", "."]))
    assert await pieces_of(model) == ["Hel", "lo ", "wörld", "."]
    assert server.requests[0].body["stream"] is True
    assert server.requests[0].body["model"] == "tiny"


async def test_first_piece_is_there_before_the_last_is_made(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["a", "b"], delay=30))
    async with asyncio.timeout(10), model.stream(HELLO) as stream:
        assert await anext(aiter(stream)) == "a"
        assert stream.usage is None


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_answer_that_the_model_had_to_cut_says_so(server: ScriptedModel, model: LanguageModel, reason: str) -> None:
    server.script(Reply(["a", "b"], finish_reason=reason))
    async with model.stream(HELLO) as stream:
        assert [text async for text in stream] == ["a", "b"]
        assert stream.truncated == (reason == "length")


async def test_whole_answer_is_asked_for_in_one_piece(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["Hel", "lo\x1b[2J."]))
    assert await model.complete(HELLO) == Completion("Hello[2J.", ModelUsage("tiny", 3, 2, None))
    assert server.requests[0].body["stream"] is False


async def test_known_model_tells_tokens_and_cost(server: ScriptedModel, connected: Connect, provider: ProviderName) -> None:
    server.script(Reply(["a", "b"]), Reply(["a", "b"]))
    model = connected(provider=provider, model=KNOWN[provider])
    async with model.stream(HELLO) as stream:
        assert [text async for text in stream] == ["a", "b"]
    usage = stream.usage
    assert usage is not None
    assert (usage.model, usage.input_tokens, usage.output_tokens) == (KNOWN[provider], 3, 2)
    # Per million tokens: 0.40 and 1.60 dollars, and 1 and 5.
    assert usage.cost_usd == pytest.approx({"openai": 3 * 0.4e-6 + 2 * 1.6e-6, "anthropic": 3 * 1e-6 + 2 * 5e-6}[provider])
    assert (await model.complete(HELLO)).usage == usage


async def test_model_of_ones_own_tells_tokens_without_a_cost(model: LanguageModel) -> None:
    async with model.stream(HELLO) as stream:
        assert [text async for text in stream] == ["Yes."]
    assert stream.usage == ModelUsage("tiny", 3, 1, None)


async def test_options_of_a_request_are_sent(server: ScriptedModel, model: LanguageModel) -> None:
    options = ModelOptions(model="other", temperature=0.0, max_tokens=7)
    async with model.stream(HELLO, options) as stream:
        assert [text async for text in stream] == ["Yes."]
    assert (await model.complete(HELLO, options)).usage == ModelUsage("other", 3, 1, None)
    for request in server.requests:
        assert (request.body["model"], request.body["temperature"], request.body["max_tokens"]) == ("other", 0.0, 7)


async def test_model_that_refuses_a_temperature_is_asked_without(server: ScriptedModel, model: LanguageModel) -> None:
    refusal = Reply(status=400, error={"type": "invalid_request_error", "message": "temperature is not supported here"})
    server.default = lambda request: refusal if "temperature" in request.body else Reply()
    for _ in range(2):
        assert (await model.complete(HELLO, ModelOptions(temperature=0.2))).text == "Yes."
    assert ["temperature" in request.body for request in server.requests] == [True, False, False]
    # Another model may take it.
    await model.complete(HELLO, ModelOptions(model="other", temperature=0.2))
    assert ["temperature" in request.body for request in server.requests[3:]] == [True, False]


async def test_characters_that_cannot_be_stored_or_shown_are_taken_out(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["a\0b", "\ud83d", "🍎é\n\t", "\0", "\x1b]0;title\x07\x9b31m\x7f\r\n"]))
    assert await pieces_of(model) == ["ab", "\ufffd", "🍎é\n\t", "]0;title31m\n"]


async def test_leaving_early_ends_the_request_at_the_server(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["x"] * 1000, delay=0.02))
    async with model.stream(HELLO) as stream:
        await anext(aiter(stream))
    async with asyncio.timeout(10):
        await server.abandoned.wait()


async def test_cancelling_ends_the_request_at_the_server(server: ScriptedModel, model: LanguageModel) -> None:
    server.script(Reply(["x"] * 1000, delay=0.02))
    pieces: list[str] = []
    reading = asyncio.create_task(pieces_of(model, pieces))
    async with asyncio.timeout(10):
        while not pieces:
            await asyncio.sleep(0)
        await cancel_all([reading])
        await server.abandoned.wait()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "model_rejected"),
        (401, "model_unauthorized"),
        (403, "model_unauthorized"),
        (404, "model_rejected"),
        (408, "model_timeout"),
        (413, "model_context_exceeded"),
        (422, "model_rejected"),
        (429, "model_rate_limited"),
        (500, "model_unavailable"),
        (503, "model_unavailable"),
        (529, "model_unavailable"),
    ],
)
async def test_refusal_is_named_without_what_the_endpoint_says(
    server: ScriptedModel, model: LanguageModel, status: int, code: str
) -> None:
    reply = Reply(status=status, error={"type": "some_error", "message": "Incorrect API key: secret"})
    server.script(reply, reply)
    for answer in (model.complete(HELLO), pieces_of(model)):
        with pytest.raises(ModelError) as raised:
            await answer
        assert raised.value.code == code
        assert "secret" not in "".join(traceback.format_exception(raised.value))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. Reduce max_tokens.",
        "Your input exceeds the context window of this model.",
        "the request exceeds the available context size, try increasing it",
        "The model is loaded with context length of only 4096 tokens, which is not enough.",
        "prompt is too long: 208310 tokens > 200000 maximum",
    ],
)
async def test_prompt_that_is_too_long_is_named(server: ScriptedModel, model: LanguageModel, message: str) -> None:
    server.script(Reply(status=400, error={"type": "invalid_request_error", "message": message}))
    with pytest.raises(ModelError) as raised:
        await model.complete(HELLO, ModelOptions(max_tokens=5))
    assert raised.value.code == "model_context_exceeded"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [Reply("abc", cut_after=2), Reply("abc", end_after=2), Reply("abc", error_after=2), Reply("abc", malformed_after=2)],
    ids=["cut", "end", "error", "malformed"],
)
async def test_answer_that_breaks_off_is_an_error_after_its_pieces(
    server: ScriptedModel, model: LanguageModel, reply: Reply
) -> None:
    server.script(reply)
    pieces: list[str] = []
    with pytest.raises(ModelError) as raised:
        await pieces_of(model, pieces)
    assert pieces == ["a", "b"]
    assert raised.value.code == "model_interrupted"


async def test_endpoint_that_is_not_there_is_unavailable(connected: Connect, provider: ProviderName) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = connected(provider=provider, base_url=f"http://user:password@127.0.0.1:{port}/v1")
    for answer in (model.complete(HELLO), pieces_of(model), model.models()):
        with pytest.raises(ModelError) as raised:
            await answer
        assert raised.value.code == "model_unavailable"
        assert "password" not in str(raised.value)
    assert await model.context_tokens() == 8192


async def test_address_without_its_scheme_is_said(connected: Connect, provider: ProviderName) -> None:
    with pytest.raises(ModelError, match="an address without http://") as raised:
        await pieces_of(connected(provider=provider, base_url="localhost:1/v1"))
    assert raised.value.code == "model_unavailable"


@pytest.mark.parametrize("reply", [Reply(first_delay=30), Reply(["a", "b"], delay=30)], ids=["at once", "in the middle"])
async def test_endpoint_that_is_silent_times_out(
    server: ScriptedModel, connected: Connect, provider: ProviderName, reply: Reply
) -> None:
    server.script(reply)
    model = connected(provider=provider, silence_timeout=0.2)
    with pytest.raises(ModelError) as raised:
        await pieces_of(model)
    assert raised.value.code == "model_timeout"


async def test_wrong_key_is_refused_and_the_right_one_is_taken(
    server: ScriptedModel, connected: Connect, provider: ProviderName
) -> None:
    server.wants_key = True
    wrong, right = connected(provider=provider), connected(provider=provider, api_key=server.api_key)
    for answer in (pieces_of(wrong), wrong.models()):
        with pytest.raises(ModelError) as raised:
            await answer
        assert raised.value.code == "model_unauthorized"
    assert await pieces_of(right) == ["Yes."]
    assert await right.models() == [MODEL]


async def test_without_a_model_name_the_first_that_writes_is_used(
    server: ScriptedModel, connected: Connect, provider: ProviderName
) -> None:
    server.models = ["nomic-embed-text:latest", "BAAI/bge-m3", "llama3.2:3b", "qwen3:8b"]
    model = connected(provider=provider, model=None)
    await asyncio.gather(*(pieces_of(model) for _ in range(3)))
    assert {request.body["model"] for request in server.requests} == {"llama3.2:3b"}
    server.models = []
    assert await model.default_model() == "llama3.2:3b"
    assert await model.models() == []


async def test_endpoint_without_a_model_that_writes_says_what_to_set(
    server: ScriptedModel, connected: Connect, provider: ProviderName
) -> None:
    server.models = ["all-minilm"]
    model = connected(provider=provider, model=None)
    with pytest.raises(ModelError, match="DOCUTALK_LLM_MODEL") as raised:
        await pieces_of(model)
    assert raised.value.code == "model_rejected"
    assert await model.context_tokens() == 8192


async def test_context_is_the_setting_or_what_is_known_or_a_guess(connected: Connect, provider: ProviderName) -> None:
    model = connected(provider=provider)
    assert await model.context_tokens() == 8192
    assert await model.context_tokens(KNOWN[provider]) == {"openai": 1_000_000, "anthropic": 200_000}[provider]
    assert await connected(provider=provider, context_tokens=123).context_tokens(KNOWN[provider]) == 123

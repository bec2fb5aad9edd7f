"""What is Anthropic's own: the system prompt apart, turns that alternate, and errors inside of a stream."""

from __future__ import annotations

import pytest
from docutalk_common.llm import ModelError, ModelMessage
from docutalk_common.testing.llm_server import Reply, ScriptedModel

from .asking import HELLO, Connect, pieces_of


async def test_request_has_the_system_prompt_apart_and_a_limit(server: ScriptedModel, connected: Connect) -> None:
    await pieces_of(connected(provider="anthropic"))
    request = server.requests[0]
    assert request.path == "/v1/messages"
    assert request.headers["anthropic-version"]
    assert request.body == {
        "model": "tiny",
        "max_tokens": 4096,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
    }


async def test_turns_alternate_from_the_users_first(server: ScriptedModel, connected: Connect) -> None:
    said = [("assistant", "Before."), ("user", "A"), ("user", "B"), ("assistant", "C"), ("user", " "), ("assistant", "D")]
    messages = [ModelMessage(role, content) for role, content in [*said, ("user", "E")]]  # type: ignore[arg-type]
    await connected(provider="anthropic").complete(messages)
    body = server.requests[0].body
    assert "system" not in body
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("user", "A\n\nB"),
        ("assistant", "C\n\nD"),
        ("user", "E"),
    ]


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_address_may_end_in_the_version(server: ScriptedModel, connected: Connect, ending: str) -> None:
    model = connected(provider="anthropic", base_url=server.root_url + ending)
    assert await pieces_of(model) == ["Yes."]
    assert await model.models() == server.models


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "model_unavailable"),
        ("api_error", "model_unavailable"),
        ("rate_limit_error", "model_rate_limited"),
        ("some_error", "model_interrupted"),
    ],
)
async def test_error_inside_of_a_stream_says_what_it_is_until_the_first_text(
    server: ScriptedModel, connected: Connect, kind: str, code: str
) -> None:
    error = {"type": kind, "message": "secret"}
    server.script(Reply(error_after=0, error=error), Reply("ab", error_after=1, error=error))
    model = connected(provider="anthropic")
    for expected in (code, "model_interrupted"):
        with pytest.raises(ModelError) as raised:
            await pieces_of(model)
        assert raised.value.code == expected
        assert "secret" not in str(raised.value)


async def test_overload_inside_of_a_stream_is_tried_again(server: ScriptedModel, connected: Connect) -> None:
    server.script(Reply(error_after=0))
    assert await pieces_of(connected(provider="anthropic", retry_delays=(0.0,))) == ["Yes."]
    assert len(server.requests) == 2


async def test_prompt_that_is_too_long_is_named_inside_of_a_stream_too(server: ScriptedModel, connected: Connect) -> None:
    error = {"type": "invalid_request_error", "message": "prompt is too long: 2 tokens > 1 maximum"}
    server.script(Reply(error_after=0, error=error))
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected(provider="anthropic"))
    assert raised.value.code == "model_context_exceeded"


async def test_usage_is_told_at_the_end_only(server: ScriptedModel, connected: Connect) -> None:
    server.script(Reply("ab", end_after=1))
    model = connected(provider="anthropic")
    with pytest.raises(ModelError):
        async with model.stream(HELLO) as stream:
            assert [text async for text in stream]
    assert stream.usage is None

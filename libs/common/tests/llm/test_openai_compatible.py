"""What is OpenAI's own: the fields that not every endpoint takes, and thoughts among the text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from docutalk_common.llm import ModelError, ModelMessage, ModelOptions
from docutalk_common.testing.http_server import serving
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .asking import HELLO, Connect, pieces_of


async def test_request_has_nothing_that_is_not_wanted(server: ScriptedModel, connected: Connect) -> None:
    model = connected()
    await pieces_of(model)
    await model.complete(HELLO)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    asked = {"model": "tiny", "messages": messages}
    assert [request.body for request in server.requests] == [
        {**asked, "stream": True, "stream_options": {"include_usage": True}},
        {**asked, "stream": False},
    ]
    assert server.requests[0].authorization == "Bearer secret"


async def test_endpoint_that_tells_no_usage_answers_all_the_same(server: ScriptedModel, connected: Connect) -> None:
    server.default = Reply(usage=False)
    model = connected()
    async with model.stream(HELLO) as stream:
        assert [text async for text in stream] == ["Yes."]
    assert stream.usage is None
    assert (await model.complete(HELLO)).usage is None


@pytest.mark.parametrize("status", [400, 422])
async def test_field_that_is_refused_is_left_out_from_then_on(server: ScriptedModel, connected: Connect, status: int) -> None:
    refusal = Reply(status=status, error={"message": "Extra inputs are not permitted: body.stream_options"})
    server.default = lambda request: refusal if "stream_options" in request.body else Reply()
    model = connected()
    assert [await pieces_of(model) for _ in range(2)] == [["Yes."], ["Yes."]]
    assert ["stream_options" in request.body for request in server.requests] == [True, False, False]


@pytest.mark.parametrize(
    "told", ["Conversation roles must alternate user/assistant/user/assistant/...", "System role not supported"]
)
async def test_model_whose_template_is_strict_gets_the_conversation_in_turns(
    server: ScriptedModel, connected: Connect, told: str
) -> None:
    def reply(request: Any) -> Reply:
        roles = [message["role"] for message in request.messages]
        fine = roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        return Reply() if fine else Reply(status=400, error={"message": told})

    server.default = reply
    model = connected()
    said = [
        ("system", "Be brief."),
        ("assistant", "Lost."),
        ("user", "One?"),
        ("user", "Two?"),
        ("assistant", "2."),
        ("user", "3?"),
    ]
    messages = [ModelMessage(role, content) for role, content in said]  # type: ignore[arg-type]
    assert (await model.complete(messages)).text == "Yes."
    async with model.stream(messages) as stream:
        assert [text async for text in stream] == ["Yes."]
    assert len(server.requests) == 3
    sent = [(message["role"], message["content"]) for message in server.requests[-1].messages]
    assert sent == [("user", "Be brief.\n\nOne?\n\nTwo?"), ("assistant", "2."), ("user", "3?")]


async def test_limit_of_the_answer_is_sent_under_its_other_name_then_not_at_all(
    server: ScriptedModel, connected: Connect
) -> None:
    refused = ["max_tokens"]

    def reply(request: Any) -> Reply:
        named = next((name for name in refused if name in request.body), None)
        if named is None:
            return Reply()
        message = f"Unsupported parameter: '{named}' is not supported with this model. Use 'max_completion_tokens' instead."
        return Reply(status=400, error={"message": message, "code": "unsupported_parameter"})

    server.default = reply
    model = connected()
    await model.complete(HELLO, ModelOptions(max_tokens=9))
    assert server.requests[-1].body["max_completion_tokens"] == 9
    refused.append("max_completion_tokens")
    await model.complete(HELLO, ModelOptions(max_tokens=9))
    assert server.requests[-1].body.keys() == {"model", "messages", "stream"}
    assert len(server.requests) == 4


async def test_refusal_that_names_no_optional_field_is_final(server: ScriptedModel, connected: Connect) -> None:
    server.script(Reply(status=400, error={"message": "temperature"}))
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected())
    assert raised.value.code == "model_rejected"
    assert len(server.requests) == 1


async def test_thoughts_before_the_answer_are_left_out(server: ScriptedModel, connected: Connect) -> None:
    server.default = Reply(["<th", "ink>Hm. </thi", "nk", ">\n\n4", "2 <think>"])
    model = connected()
    assert "".join(await pieces_of(model)) == "42 <think>"
    assert (await model.complete(HELLO)).text == "42 <think>"


async def test_prompt_that_is_too_long_is_named_inside_of_a_stream_too(server: ScriptedModel, connected: Connect) -> None:
    server.script(Reply(error_after=0, error={"message": "the request exceeds the available context size"}))
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected())
    assert raised.value.code == "model_context_exceeded"


def stream_of(*chunks: object) -> Response:
    """A stream of exactly these chunks."""
    return Response("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), media_type="text/event-stream")


@pytest.fixture
async def peculiar(connected: Connect) -> AsyncIterator[Any]:
    """Connects to a server that gives one answer to everything."""
    answers: list[Response] = []

    async def answer(_: Request) -> Response:
        return answers[0]

    async with serving(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as url:

        def connect_to(response: Response) -> Any:
            answers[:] = [response]
            return connected(base_url=f"{url}/v1")

        yield connect_to


def chunk(finish_reason: str | None = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


async def test_reasoning_beside_the_text_is_no_text(peculiar: Any) -> None:
    chunks = [chunk(reasoning_content="Hm."), chunk(content=None, reasoning="Well."), chunk(content="42"), chunk("stop")]
    assert await pieces_of(peculiar(stream_of(*chunks))) == ["42"]


async def test_cached_tokens_cost_less_and_strange_counts_do_no_harm(peculiar: Any) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": None, "prompt_tokens_details": {"cached_tokens": 800}}
    model = peculiar(stream_of(chunk(content="42"), chunk("stop"), {"choices": [], "usage": usage}))
    async with model.stream(HELLO, ModelOptions(model="gpt-4.1-mini")) as stream:
        assert [text async for text in stream] == ["42"]
    assert stream.usage is not None
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (1000, 0)
    assert stream.usage.cost_usd == pytest.approx(200 * 0.4e-6 + 800 * 0.1e-6)


@pytest.mark.parametrize(
    "response",
    [
        HTMLResponse("<h1>Welcome</h1>"),
        JSONResponse({"choices": [], "data": 5}),
        JSONResponse([]),
        stream_of(5),
        stream_of({"choices": None}),
    ],
)
async def test_what_is_no_answer_is_an_error(peculiar: Any, response: Response) -> None:
    model = peculiar(response)
    for answer, code in (
        (model.complete(HELLO), "model_unavailable"),
        (model.models(), "model_unavailable"),
        (pieces_of(model), "model_interrupted"),
    ):
        with pytest.raises(ModelError) as raised:
            await answer
        assert raised.value.code == code

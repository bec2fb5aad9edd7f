"""Requests that are sent again, and an endpoint that is left alone for a while."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
from collections.abc import AsyncIterator

import pytest
from docutalk_common.llm import LanguageModel, ModelError
from docutalk_common.process import cancel_all, wait_until
from docutalk_common.testing.llm_server import Reply, ScriptedModel

from .asking import HELLO, Connect, pieces_of

NOW = (0.0, 0.0)
"""Two further tries, at once."""


@pytest.mark.parametrize(
    "failure",
    [
        Reply(status=500),
        Reply(status=429, retry_after="0"),
        Reply(status=503, retry_after="not a time"),
        Reply(cut_after=0),
        Reply(end_after=0),
        Reply(error_after=0),
        Reply(malformed_after=0),
        Reply(["<think>", "Hm."], cut_after=1),
    ],
    ids=["500", "429", "503", "cut", "end", "error", "malformed", "cut while it thinks"],
)
async def test_failure_before_the_first_text_is_tried_again(server: ScriptedModel, connected: Connect, failure: Reply) -> None:
    server.script(failure, failure, Reply(["a", "b"]))
    model = connected(retry_delays=NOW)
    async with model.stream(HELLO) as stream:
        assert [text async for text in stream] == ["a", "b"]
    assert stream.usage is not None
    assert len(server.requests) == 3


@pytest.mark.parametrize("failure", [Reply(status=500), Reply(status=429)])
async def test_whole_answers_are_tried_again_too(server: ScriptedModel, connected: Connect, failure: Reply) -> None:
    server.script(failure, Reply(["a", "b"]))
    assert (await connected(retry_delays=NOW).complete(HELLO)).text == "ab"


async def test_tries_end_with_the_last_failure(server: ScriptedModel, connected: Connect) -> None:
    server.default = Reply(status=500)
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected(retry_delays=NOW))
    assert raised.value.code == "model_unavailable"
    assert len(server.requests) == 3


@pytest.mark.parametrize("reply", [Reply(status=401), Reply(status=400), Reply(status=404), Reply(status=413)])
async def test_refusal_that_would_come_again_is_final(server: ScriptedModel, connected: Connect, reply: Reply) -> None:
    server.script(reply)
    with pytest.raises(ModelError):
        await pieces_of(connected(retry_delays=NOW))
    assert len(server.requests) == 1


async def test_silence_is_not_waited_for_twice(server: ScriptedModel, connected: Connect) -> None:
    server.script(Reply(first_delay=30))
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected(retry_delays=NOW, silence_timeout=1.0))
    assert raised.value.code == "model_timeout"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply", [Reply("abc", cut_after=1), Reply("abc", end_after=1), Reply("abc", error_after=1), Reply("abc", malformed_after=1)]
)
async def test_nothing_is_tried_again_after_the_first_text(server: ScriptedModel, connected: Connect, reply: Reply) -> None:
    server.script(reply)
    pieces: list[str] = []
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected(retry_delays=NOW), pieces)
    assert raised.value.code == "model_interrupted"
    assert (pieces, len(server.requests)) == (["a"], 1)


async def test_endpoint_says_when_it_wants_to_be_asked_again(server: ScriptedModel, connected: Connect) -> None:
    server.script(Reply(status=429, retry_after="1"))
    started = time.monotonic()
    assert await pieces_of(connected(retry_delays=(30.0,))) == ["Yes."]
    assert 1 <= time.monotonic() - started < 10


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
async def test_longer_wait_is_left_to_the_caller(server: ScriptedModel, connected: Connect, status: int, as_date: bool) -> None:
    retry_after = email.utils.formatdate(time.time() + 60, usegmt=True) if as_date else "60"
    server.script(Reply(status=status, retry_after=retry_after))
    with pytest.raises(ModelError, match=r"Ask again in \d\d s") as raised:
        await pieces_of(connected(retry_delays=NOW))
    assert raised.value.retry_after == pytest.approx(60, abs=45)
    assert len(server.requests) == 1


@pytest.fixture
async def hanging_up() -> AsyncIterator[tuple[str, list[int]]]:
    """The address of a server that ends every connection, and a list with an entry for each."""
    connections: list[int] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", connections


async def test_connection_that_fails_is_tried_again(hanging_up: tuple[str, list[int]], connected: Connect) -> None:
    base_url, connections = hanging_up
    with pytest.raises(ModelError) as raised:
        await pieces_of(connected(base_url=base_url, retry_delays=NOW))
    assert raised.value.code == "model_unavailable"
    assert len(connections) == 3


async def failed(model: LanguageModel) -> ModelError:
    """The error of one answer."""
    with pytest.raises(ModelError) as raised:
        await pieces_of(model)
    return raised.value


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Reply(status=500), "model_unavailable"),
        (Reply("ab", cut_after=1), "model_interrupted"),
        (Reply(first_delay=30), "model_timeout"),
    ],
    ids=["500", "cut", "silence"],
)
async def test_endpoint_that_keeps_failing_is_left_alone_for_a_while(
    server: ScriptedModel, connected: Connect, failure: Reply, code: str
) -> None:
    server.script(failure, failure)
    model = connected(breaker_threshold=2, breaker_seconds=3, silence_timeout=1.0)
    assert [(await failed(model)).code for _ in range(2)] == [code, code]
    refusal = await failed(model)
    assert refusal.code == "model_unavailable"
    assert "failed 2 times in a row and is asked again in" in str(refusal)
    assert refusal.retry_after is not None
    assert 0 < refusal.retry_after <= 3
    with pytest.raises(ModelError, match="2 times in a row"):
        await model.complete(HELLO)
    assert len(server.requests) == 2

    async def answers() -> bool:
        try:
            return await pieces_of(model) == ["Yes."]
        except ModelError:
            return False

    await wait_until(answers, seconds=10, what="the endpoint is asked again")
    assert len(server.requests) == 3


async def test_endpoint_that_fails_again_after_the_pause_is_left_alone_at_once(server: ScriptedModel, connected: Connect) -> None:
    server.default = Reply(status=500)
    model = connected(breaker_threshold=2, breaker_seconds=3)
    for _ in range(2):
        await failed(model)

    async def asked_again() -> bool:
        await failed(model)
        return len(server.requests) == 3

    await wait_until(asked_again, seconds=10, what="the endpoint is asked again")
    assert (await failed(model)).retry_after is not None
    assert len(server.requests) == 3


async def test_tries_end_when_the_endpoint_is_to_be_left_alone(server: ScriptedModel, connected: Connect) -> None:
    server.default = Reply(status=500)
    model = connected(breaker_threshold=2, retry_delays=(0.0, 0.0, 0.0, 0.0))
    assert "failed (500)" in str(await failed(model))
    assert len(server.requests) == 2


@pytest.mark.parametrize("between", [Reply(), Reply(status=401), Reply(status=429)], ids=["200", "401", "429"])
async def test_endpoint_that_lives_is_not_left_alone(server: ScriptedModel, connected: Connect, between: Reply) -> None:
    failure = Reply(status=500)
    server.script(failure, between, failure, between, failure, Reply(["Back."]))
    model = connected(breaker_threshold=2)
    for _ in range(5):
        with contextlib.suppress(ModelError):
            await pieces_of(model)
    assert await pieces_of(model) == ["Back."]
    assert len(server.requests) == 6


async def test_request_that_its_caller_gives_up_does_not_count(server: ScriptedModel, connected: Connect) -> None:
    model = connected(breaker_threshold=2)
    server.script(Reply(status=500), Reply(first_delay=30), Reply("ab", delay=30), Reply(status=500))
    await failed(model)
    for wanted in (2, 3):
        asking = asyncio.create_task(pieces_of(model))

        async def received(wanted: int = wanted) -> bool:
            return len(server.requests) == wanted

        await wait_until(received, seconds=10, what="the request is there")
        await cancel_all([asking])
    # Neither a failure, after which nothing would have been asked, nor a success, after which this was the first failure.
    assert (await failed(model)).retry_after is None
    assert "in a row" in str(await failed(model))
    assert len(server.requests) == 4

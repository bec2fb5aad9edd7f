"""Requests over the real server: every outcome is an answer, and nobody waits longer than asked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.contracts.envelope import Contract
from docutalk_common.db import Cause
from docutalk_common.errors import DependencyUnavailable, NotFound, RequestFailed
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.settings import ServiceSettings
from docutalk_local.testing import TestStack

GET = "rpc.ingest.v1.document.get"
PAGES = "rpc.ingest.v1.page.get"
OPEN = "rpc.chat.v1.session.open"
QUESTION = ingest.GetDocument(workspace_id=uuid4(), document_id=uuid4())


def broker(stack: TestStack, service: Any) -> MessageBroker:
    settings = ServiceSettings.from_environment(stack.service_environment(service))
    return MessageBroker(settings, service=service, db=None)


@contextlib.asynccontextmanager
async def answering(stack: TestStack, **handlers: Callable[[Any, Cause], Awaitable[Contract]]) -> AsyncIterator[None]:
    """Ingest (and chat, for sessions) with these handlers."""
    one, other = broker(stack, "ingest"), broker(stack, "chat")
    for name, handler in handlers.items():
        subject = {"get": GET, "pages": PAGES, "open": OPEN}[name]
        (other if subject == OPEN else one).answer(subject, handler)
    await one.start()
    await other.start()
    try:
        yield
    finally:
        await one.stop()
        await other.stop()


@pytest.fixture
async def client(stack: TestStack) -> AsyncIterator[RequestClient]:
    gateway = broker(stack, "gateway")
    await gateway.start()
    yield gateway.requests
    await gateway.stop()


def raising(error: Exception) -> Callable[[Any, Cause], Awaitable[Contract]]:
    async def handler(_request: Any, _cause: Cause) -> Contract:
        raise error

    return handler


LONG = 20.0
"""A deadline that nobody waits for by accident, however busy the machine is."""


async def ask(client: RequestClient, *, timeout: float = LONG) -> ingest.Document:
    return await client.ask(GET, QUESTION, ingest.Document, timeout=timeout)


async def test_answer_arrives_with_the_cause_of_the_question(stack: TestStack, client: RequestClient) -> None:
    causes: list[Cause] = []

    async def pages(request: ingest.GetPages, cause: Cause) -> ingest.Pages:
        causes.append(cause)
        page = ingest.Page(document_id=request.pages[0].document_id, number=3, label="iii", text="ü€")
        return ingest.Pages(pages=[page])

    cause = Cause.new("user:7")
    question = ingest.GetPages(workspace_id=uuid4(), pages=[ingest.PageRef(document_id=uuid4(), number=3)])
    async with answering(stack, pages=pages):
        answer = await client.ask(PAGES, question, ingest.Pages, cause=cause, timeout=LONG)
    assert [(page.number, page.text) for page in answer.pages] == [(3, "ü€")]
    assert causes == [cause]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (NotFound("there is no such document"), "not_found", "there is no such document"),
        (RequestFailed("conflict", "someone was faster"), "conflict", "someone was faster"),
        (DependencyUnavailable("postgres", "10.1.2.3 refused"), "unavailable", "postgres is not available"),
        (ZeroDivisionError("secret detail"), "internal", "the request failed inside the service"),
    ],
)
async def test_error_in_a_handler_is_answered_with_its_code(
    stack: TestStack, client: RequestClient, error: Exception, code: str, reason: str
) -> None:
    async with answering(stack, get=raising(error)):
        with pytest.raises(RequestFailed) as failed:
            await ask(client)
    assert failed.value.code == code
    assert str(failed.value).startswith(reason)
    assert "secret" not in str(failed.value)
    assert isinstance(failed.value, NotFound) == (code == "not_found")


async def test_nobody_listening_is_unavailable_at_once(client: RequestClient) -> None:
    started = time.monotonic()
    with pytest.raises(RequestFailed) as failed:
        await ask(client, timeout=LONG)
    assert failed.value.code == "unavailable"
    assert time.monotonic() - started < LONG / 2


async def test_handler_slower_than_the_deadline_is_a_timeout_then(stack: TestStack, client: RequestClient) -> None:
    release = asyncio.Event()

    async def slow(_request: Any, _cause: Cause) -> Contract:
        await release.wait()
        raise NotFound("too late")

    async with answering(stack, get=slow):
        started = time.monotonic()
        with pytest.raises(RequestFailed) as failed:
            await ask(client, timeout=0.4)
        took = time.monotonic() - started
        release.set()
    assert failed.value.code == "timeout"
    assert 0.35 < took < 10


async def test_answer_in_the_second_half_of_the_time_still_counts(stack: TestStack, client: RequestClient) -> None:
    """Asking again must not give up the first question: a service that needs 60 % of the time would never be heard."""

    async def slow(_request: Any, _cause: Cause) -> ingest.Pages:
        await asyncio.sleep(6)
        return ingest.Pages(pages=[])

    question = ingest.GetPages(workspace_id=uuid4(), pages=[])
    async with answering(stack, pages=slow):
        assert await client.ask(PAGES, question, ingest.Pages, timeout=10) == ingest.Pages(pages=[])


async def test_idempotent_question_without_an_answer_is_asked_once_more(stack: TestStack, client: RequestClient) -> None:
    asked: list[int] = []

    async def lose_first(_request: Any, _cause: Cause) -> ingest.Pages:
        asked.append(1)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return ingest.Pages(pages=[])

    question = ingest.GetPages(workspace_id=uuid4(), pages=[])
    ingest_broker = broker(stack, "ingest")
    ingest_broker.answer(PAGES, lose_first)
    await ingest_broker.start()
    try:
        assert await client.ask(PAGES, question, ingest.Pages, timeout=10) == ingest.Pages(pages=[])
    finally:
        await ingest_broker.stop(grace=0.1)
    assert len(asked) == 2


async def test_question_that_is_not_idempotent_is_asked_only_once(stack: TestStack, client: RequestClient) -> None:
    asked: list[int] = []

    async def lose(_request: Any, _cause: Cause) -> chat.SessionOpened:
        asked.append(1)
        await asyncio.Event().wait()
        raise AssertionError

    chat_broker = broker(stack, "chat")
    chat_broker.answer(OPEN, lose)
    await chat_broker.start()
    try:
        with pytest.raises(RequestFailed) as failed:
            await client.ask(OPEN, chat.OpenSession(workspace_id=uuid4(), user_id=uuid4()), chat.SessionOpened, timeout=3)
    finally:
        await chat_broker.stop(grace=0.1)
    assert failed.value.code == "timeout"
    assert len(asked) == 1


async def test_question_past_its_deadline_is_not_worked_on(stack: TestStack, client: RequestClient) -> None:
    """A service that comes back finds questions whose askers have given up."""
    asked: list[Any] = []

    async def note(request: Any, _cause: Cause) -> Contract:
        asked.append(request)
        raise NotFound("no")

    connection = client._connection()
    body = QUESTION.model_dump_json().encode()
    async with answering(stack, get=note):
        await connection.publish(GET, body, reply=connection.new_inbox(), headers={"Docutalk-Deadline": str(time.time() - 1)})
        with pytest.raises(NotFound):
            await ask(client)
        assert len(asked) == 1
        # A deadline that cannot be read is none.
        reply = await connection.request(GET, body, timeout=LONG, headers={"Docutalk-Deadline": "soon"})
    assert b"not_found" in reply.data


@pytest.mark.parametrize("payload", [b"", b"not json", b"[]", b'{"workspace_id": "x"}'])
async def test_payload_that_is_not_valid_is_answered_as_invalid(stack: TestStack, client: RequestClient, payload: bytes) -> None:
    async with answering(stack, get=raising(AssertionError("never called"))):
        reply = await client._connection().request(GET, payload, timeout=LONG)
    assert reply.data.startswith(b'{"error":{"code":"invalid"')


async def test_answer_of_another_shape_is_an_internal_error(stack: TestStack, client: RequestClient) -> None:
    async def wrong(_request: Any, _cause: Cause) -> Contract:
        return embed.Embeddings(model="m", vectors=[])

    async with answering(stack, get=wrong):
        with pytest.raises(RequestFailed) as failed:
            await ask(client)
    assert failed.value.code == "internal"


async def test_answer_larger_than_a_message_is_an_error_at_once(stack: TestStack, client: RequestClient) -> None:
    async def huge(_request: Any, _cause: Cause) -> Contract:
        page = ingest.Page(document_id=uuid4(), number=1, label="1", text="x" * (3 << 20))
        return ingest.Pages(pages=[page])

    question = ingest.GetPages(workspace_id=uuid4(), pages=[])
    async with answering(stack, pages=huge):
        started = time.monotonic()
        with pytest.raises(RequestFailed) as failed:
            await client.ask(PAGES, question, ingest.Pages, timeout=LONG)
    assert failed.value.code == "too_large"
    assert time.monotonic() - started < LONG / 2


async def test_sixteen_slow_questions_are_worked_on_at_once(stack: TestStack, client: RequestClient) -> None:
    meeting = asyncio.Barrier(16)

    async def meet(_request: Any, _cause: Cause) -> ingest.Pages:
        await meeting.wait()
        return ingest.Pages(pages=[])

    question = ingest.GetPages(workspace_id=uuid4(), pages=[])
    async with answering(stack, pages=meet):
        answers = await asyncio.gather(*(client.ask(PAGES, question, ingest.Pages, timeout=LONG) for _ in range(16)))
    assert len(answers) == 16


async def test_message_server_away_is_unavailable_not_a_silent_service(stack: TestStack, client: RequestClient) -> None:
    await stack.backend.stop_server("nats")
    try:
        with pytest.raises(RequestFailed) as failed:
            await ask(client, timeout=0.4)
    finally:
        await stack.backend.start_server("nats")
    assert failed.value.code == "unavailable"
    assert "message server" in str(failed.value)

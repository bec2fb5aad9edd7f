"""The Model Context Protocol: its official client against the gateway, in both of the protocol's generations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from docutalk_common.contracts import embed
from docutalk_common.process import wait_until
from docutalk_gateway.use_cases.read_text import TEXT_MAX
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

GENERATIONS = ["legacy", "auto"]
Connect = Callable[..., contextlib.AbstractAsyncContextManager[Client]]


@contextlib.asynccontextmanager
async def connect(gateway: Any, token: str, mode: Any = "auto") -> AsyncIterator[Client]:
    """Their client, signed in."""
    # Nothing here speaks TLS, and loading the certificates takes longer than most tests.
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30, verify=False) as http,
        Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture
async def key(person: Any) -> str:
    """An API key of the module's account."""
    made = await person.http.post("/api/v1/users/me/api-keys", json={"name": "assistant"})
    return str(made.json()["key"])


async def call(client: Client, tool: str, person: Any = None, **arguments: Any) -> Any:
    """The structured answer of a tool, in a person's workspace."""
    where = {} if person is None else {"workspace": str(person.workspace)}
    result = await client.call_tool(tool, {**where, **arguments})
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """What a tool says when it can not."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return str(result.content[0].text)


def passage(document_id: UUID, **fields: Any) -> embed.Passage:
    """What search finds."""
    given: dict[str, Any] = {
        "chunk_id": uuid4(),
        "document_id": document_id,
        "filename": "report.pdf",
        "page": 3,
        "start": 10,
        "end": 20,
        "text": "ten letter",
        "score": 0.5,
        "scores": embed.PassageScores(semantic=0.5),
    }
    return embed.Passage(**{**given, **fields})


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_client_finds_the_tools_and_what_they_take(gateway: Any, key: str, mode: str) -> None:
    async with connect(gateway, key, mode) as client:
        assert client.server_info.name == "docutalk"
        assert "Cite what you use" in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"list_documents", "search", "fetch", "ask"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint is True
        assert tool.description
        assert all(field["description"] for field in tool.input_schema["properties"].values())
        assert tool.output_schema["type"] == "object"
    assert tools["search"].input_schema["required"] == ["query"]
    assert "context" not in tools["search"].input_schema["properties"]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_documents_are_listed_found_and_read(
    gateway: Any, person: Any, key: str, mode: str, ingest_service: Any, embed_service: Any
) -> None:
    document_id = uuid4()
    ingest_service.put(person.workspace, document_id, filename="report.pdf", page_count=3, served_version=1)
    ingest_service.pages |= {(document_id, n): f"page {n}" for n in (1, 2, 3)}
    embed_service.passages = [passage(document_id)]
    url = f"{gateway.url}{person.documents}/{document_id}"
    async with connect(gateway, key, mode) as client:
        listed = await call(client, "list_documents", person, query="REPORT")
        found = await call(client, "search", person, query="ten", limit=5, document_ids=[str(document_id)])
        page = await call(client, "fetch", person, id=found["results"][0]["id"])
        middle = await call(client, "fetch", person, id=f"{document_id}/2")
        whole = await call(client, "fetch", person, id=str(document_id))
    assert (listed["total"], listed["page"], listed["workspace"]) == (1, 1, "New")
    assert [(d["id"], d["title"], d["status"], d["url"]) for d in listed["documents"]] == [
        (str(document_id), "report.pdf", "ready", url)
    ]
    assert found["results"] == [
        {
            "id": f"{document_id}/3",
            "title": "report.pdf",
            "url": f"{url}/pages/3",
            "text": "ten letter",
            "page": 3,
            "document_id": str(document_id),
            "start": 10,
            "end": 20,
            "score": 0.5,
        }
    ]
    [question] = embed_service.asked
    assert (question.workspace_id, question.query, question.limit) == (person.workspace, "ten", 5)
    assert question.filters.document_ids == [document_id]
    assert (page["text"], page["title"], page["url"]) == ("page 3", "report.pdf", f"{url}/pages/3")
    assert page["metadata"]["next"] is None
    assert (middle["text"], middle["metadata"]["next"]) == ("page 2", f"{document_id}/3")
    assert whole["text"] == "page 1\n\npage 2\n\npage 3"
    assert (whole["metadata"]["pages"], whole["metadata"]["next"]) == ([1, 2, 3], None)
    assert (await person.http.get(page["url"].removeprefix(gateway.url))).json()["text"] == "page 3"


async def test_long_document_is_read_in_parts_that_make_the_whole(
    gateway: Any, person: Any, key: str, ingest_service: Any
) -> None:
    document_id = uuid4()
    ingest_service.put(person.workspace, document_id, filename="long.pdf", served_version=1)
    texts = [f"{n:03} " * 300 for n in range(1, 151)]
    texts[70] = "x" * 30_000
    texts[149] = "".join(f"{n} " for n in range(50_000))
    ingest_service.pages |= {(document_id, n): text for n, text in enumerate(texts, 1)}
    parts, wanted = [], str(document_id)
    async with connect(gateway, key) as client:
        while wanted:
            part = await call(client, "fetch", person, id=wanted)
            assert len(part["text"]) <= TEXT_MAX
            parts.append(part)
            wanted = part["metadata"]["next"]
    ids = ["", "/71-", "/130-", "/150-", "/150/100000-", "/150/200000-"]
    assert [part["id"] for part in parts] == [f"{document_id}{rest}" for rest in ids]
    assert [part["metadata"]["pages"] for part in parts[:3]] == [
        list(range(1, 71)),
        list(range(71, 130)),
        list(range(130, 150)),
    ]
    assert "\n\n".join([part["text"] for part in parts[:3]]) == "\n\n".join(texts[:149])
    assert "".join(part["text"] for part in parts[3:]) == texts[149]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_question_is_answered_with_checked_quotes(
    gateway: Any, person: Any, key: str, mode: str, chat_service: Any
) -> None:
    document_id = uuid4()
    async with connect(gateway, key, mode) as client:
        answer = await call(client, "ask", person, question="Is it so?", document_ids=[str(document_id)])
    assert (answer["answer"], answer["supported"], answer["workspace"]) == ("It is so [1].", True, "New")
    [cited] = answer["citations"]
    assert (cited["marker"], cited["quote"], cited["page"]) == (1, "true", 3)
    assert cited["url"] == f"{gateway.url}{person.documents}/{UUID(int=7)}/pages/3"
    [posted] = chat_service.posted
    assert (posted.text, posted.document_ids, posted.user_id) == ("Is it so?", [document_id], person.id)
    assert chat_service.transient == [posted.session_id]


async def test_blank_question_is_none(gateway: Any, key: str, chat_service: Any, embed_service: Any) -> None:
    async with connect(gateway, key) as client:
        assert "question" in await refusal(client, "ask", question=" \n")
        assert "query" in await refusal(client, "search", query=" \n")
    assert (chat_service.posted, embed_service.asked) == ([], [])


async def test_workspace_is_the_default_one_or_named(
    gateway: Any, account: Any, person: Any, key: str, chat_service: Any
) -> None:
    await person.http.patch(f"/api/v1/workspaces/{person.workspace}", json={"name": "Archive"})
    async with connect(gateway, key) as client:
        await call(client, "ask", question="one")
        await call(client, "ask", question="two", workspace="archive")
        unknown = await refusal(client, "ask", question="three", workspace="Attic")
    assert [posted.workspace_id for posted in chat_service.posted] == [account.workspace, person.workspace]
    assert "You have no workspace 'Attic'. There are: My documents (" in unknown


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_strangers_workspace_is_closed_to_every_tool(
    gateway: Any, key: str, mode: str, ingest_service: Any, embed_service: Any, chat_service: Any
) -> None:
    stranger = await gateway.person()
    document = ingest_service.put(stranger.workspace, uuid4(), filename="secret.pdf", served_version=1)
    ingest_service.pages[(document.document_id, 1)] = "secret"
    where = {"workspace": str(stranger.workspace)}
    async with connect(gateway, key, mode) as client:
        for tool, arguments in (
            ("list_documents", {}),
            ("search", {"query": "secret"}),
            ("fetch", {"id": str(document.document_id)}),
            ("ask", {"question": "secret?"}),
        ):
            assert f"You have no workspace {stranger.workspace}" in await refusal(client, tool, **where, **arguments)
        assert "There is no such document" in await refusal(client, "fetch", id=f"{document.document_id}/1")
    assert (embed_service.asked, chat_service.posted) == ([], [])


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("fetch", {"id": "report.pdf"}, "An id is a document's id, or that with a page from 1"),
        ("fetch", {"id": f"{UUID(int=1)}/0"}, "An id is a document's id, or that with a page from 1"),
        ("fetch", {"id": "-" * 32}, "An id is a document's id, or that with a page from 1"),
        ("fetch", {"id": str(UUID(int=8))}, "There is no such document."),
        ("fetch", {"id": f"{UUID(int=9)}/7"}, "a.txt has no page 7."),
        ("fetch", {"id": str(UUID(int=9))}, "a.txt has no text to read: it is queued."),
        ("search", {"query": ""}, "query"),
        ("search", {"query": "a\x00b"}, "not allowed"),
        ("search", {"query": "a", "limit": 1000}, "limit"),
        ("search", {"query": "a"}, "the embed service is not running"),
        ("ask", {"question": "x" * 20_001}, "question"),
    ],
)
async def test_what_a_tool_can_not_do_it_says(
    gateway: Any, person: Any, key: str, ingest_service: Any, tool: str, arguments: Any, reason: str
) -> None:
    ingest_service.put(person.workspace, UUID(int=9), status="queued")
    async with connect(gateway, key) as client:
        assert reason in await refusal(client, tool, workspace=str(person.workspace), **arguments)


async def test_failed_answer_is_an_error_of_the_tool(gateway: Any, key: str, chat_service: Any) -> None:
    chat_service.error = ("model_unavailable", "The model is away.")
    async with connect(gateway, key) as client:
        assert (await refusal(client, "ask", question="why?")).endswith("The model is away.")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer dtk_wrong"}, {"Authorization": "Basic YTpi"}])
async def test_nobody_comes_in_without_a_key(gateway: Any, headers: dict[str, str]) -> None:
    http = await gateway.client()
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    refused = await http.post("/mcp", json=hello, headers={"Accept": "application/json, text/event-stream", **headers})
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.json()["type"] == "urn:docutalk:problem:not_signed_in"


async def test_access_token_opens_it_too_and_its_requests_are_counted(gateway: Any, person: Any) -> None:
    async with connect(gateway, person.http.headers["Authorization"].removeprefix("Bearer ")) as client:
        assert (await client.list_tools()).tools
    assert 'docutalk_http_requests_total{method="POST",route="/mcp",status="200"}' in (await person.http.get("/metrics")).text


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_server_without_sessions_takes_posts_only(gateway: Any, person: Any, method: str) -> None:
    refused = await person.http.request(method, "/mcp", headers={"Accept": "text/event-stream"})
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_body_that_is_too_large_is_refused(gateway: Any, person: Any) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    assert (await person.http.post("/mcp", content=b"x" * (5 << 20), headers=headers)).status_code == 413


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_client_may_come_to_another_gateway_each_time(
    gateway: Any, gateway_with: Any, key: str, mode: str, chat_service: Any
) -> None:
    async with gateway_with() as other, connect(gateway, key, mode) as one, connect(other, key, mode) as two:
        for client in (one, two, one):
            assert (await call(client, "ask", question="so?"))["supported"] is True


async def test_many_clients_at_once_each_reach_their_own(gateway: Any, ingest_service: Any) -> None:
    people = [await gateway.person() for _ in range(3)]
    for number, somebody in enumerate(people):
        ingest_service.put(somebody.workspace, uuid4(), filename=f"{number}.txt")

    async def title(somebody: Any, mode: str) -> str:
        async with connect(gateway, somebody.http.headers["Authorization"].removeprefix("Bearer "), mode) as client:
            return str((await call(client, "list_documents"))["documents"][0]["title"])

    asked = [(number, somebody, mode) for number, somebody in enumerate(people) for mode in GENERATIONS] * 3
    titles = await asyncio.gather(*(title(somebody, mode) for _, somebody, mode in asked))
    assert titles == [f"{number}.txt" for number, _, _ in asked]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_client_that_goes_away_stops_the_answer(gateway: Any, key: str, mode: str, chat_service: Any) -> None:
    chat_service.hold = asyncio.Event()

    async def leave_in_the_middle() -> None:
        async with connect(gateway, key, mode) as client:
            await client.call_tool("ask", {"question": "Is it so?"})

    async def stopped() -> bool:
        return bool(chat_service.stopped == [chat_service.posted[0].answer_id])

    asking = asyncio.create_task(leave_in_the_middle())
    await chat_service.first_question()
    asking.cancel()
    await wait_until(stopped, seconds=20, what="the answer was stopped")
    chat_service.hold.set()
    await asyncio.gather(asking, return_exceptions=True)

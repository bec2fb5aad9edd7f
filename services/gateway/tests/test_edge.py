"""What the gateway does about requests that are too fast, too slow, too large, or no requests, and what it tells browsers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from docutalk_common.db import Cause
from docutalk_common.process import wait_until
from docutalk_gateway.adapters.models import AuditEntry
from docutalk_gateway.api.edge import Patience
from docutalk_gateway.api.http_protocol import HEAD_MAX, URL_MAX
from docutalk_gateway.app import serve
from docutalk_gateway.settings import GatewaySettings
from pydantic import ValidationError
from sqlalchemy import select, text

from .conftest import start_of_a_minute

PROBLEM = "application/problem+json"
SHORT = Patience(silence=0.3, body=2.0, unread=0.3)


@contextlib.asynccontextmanager
async def running(settings: GatewaySettings, patience: Patience = SHORT) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(settings, patience=patience) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        yield http


@pytest.fixture(scope="module")
async def impatient(settings_for: Callable[..., GatewaySettings]) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that waits for nobody."""
    async with running(settings_for()) as http:
        yield http


class Wire:
    """A connection on which a test says what it likes, when it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *parts: str | bytes) -> None:
        """Sends parts, as they are."""
        for part in parts:
            self.writer.write(part.encode() if isinstance(part, str) else part)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The status of the next answer and its problem."""
        # Without a task of its own for either part: the connection may be reset between them, with all of it here.
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(int(line.partition(":")[2]) for line in head.splitlines() if line.startswith("content-length"))
            body = await self.reader.readexactly(length)
        assert f"content-type: {PROBLEM}" in head
        return int(head.split()[1]), json.loads(body)

    async def closed(self) -> bytes:
        """What still comes, until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), 10)


@contextlib.asynccontextmanager
async def connected(to: httpx.AsyncClient) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", to.base_url.port)
    yield Wire(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
async def wire(impatient: httpx.AsyncClient) -> AsyncIterator[Wire]:
    async with connected(impatient) as wire:
        yield wire


@pytest.fixture(scope="module")
async def strict_about_heads(settings_for: Callable[..., GatewaySettings]) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that waits for nobody's headers. The time begins with the connection, before a test can say anything."""
    async with running(settings_for(), Patience(head=1.0)) as http:
        yield http


# Time ------------------------------------------------------------------------------------------------------------


async def test_body_that_stops_is_given_up(wire: Wire) -> None:
    wire.send("POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    status, problem = await wire.answer()
    assert (status, problem["detail"]) == (408, "The body of this request stopped for 0.3 s.")
    assert await wire.closed() == b""


def stand_still() -> None:
    """For longer than `SHORT` waits for a whole body, and the gateway with us."""
    for _ in range(22):
        time.sleep(0.1)


async def test_body_that_stops_is_told_so_also_when_nobody_looked_in_time(wire: Wire) -> None:
    wire.send("POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await asyncio.sleep(0.1)
    stand_still()
    assert (await wire.answer())[1]["detail"] == "The body of this request stopped for 0.3 s."


async def test_upload_that_stops_is_given_up(person: Any, wire: Wire) -> None:
    wire.send(
        f"POST {person.documents} HTTP/1.1\r\nHost: x\r\nAuthorization: {person.http.headers['Authorization']}\r\n",
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n",
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nabc',
    )
    status, problem = await wire.answer()
    assert (status, problem["detail"]) == (408, "The body of this request stopped for 0.3 s.")


async def test_body_that_trickles_is_given_up(settings_for: Callable[..., GatewaySettings]) -> None:
    async with running(settings_for(), Patience(body=0.6)) as http, connected(http) as wire:
        wire.send("POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")

        async def trickle() -> None:
            while True:
                wire.send(" ")
                await asyncio.sleep(0.25)  # none together with the end

        trickling = asyncio.create_task(trickle())
        try:
            status, problem = await wire.answer()
        finally:
            trickling.cancel()
    assert (status, problem["detail"]) == (408, "The body of this request did not end within 0.6 s.")


@pytest.mark.parametrize("begun", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_head_that_does_not_end_is_given_up(strict_about_heads: httpx.AsyncClient, begun: str) -> None:
    async with connected(strict_about_heads) as wire:
        wire.send(begun)
        if begun:
            assert (await wire.answer())[0] == 408
        assert await wire.closed() == b""


async def test_second_head_of_a_connection_that_does_not_end_is_given_up(strict_about_heads: httpx.AsyncClient) -> None:
    async with connected(strict_about_heads) as wire:
        wire.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await wire.answer())[0] == 404
        wire.send("GET / HT")
        assert (await wire.answer())[0] == 408
        assert await wire.closed() == b""


async def test_body_that_goes_on_after_its_answer_is_given_up(wire: Wire) -> None:
    wire.send("GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert (await wire.answer())[0] == 401

    async def cut() -> bool:
        wire.send("x")
        return wire.reader.at_eof() or wire.reader.exception() is not None

    await wait_until(cut, seconds=10, what="the connection is closed", every=0.05)


async def test_client_that_does_not_read_its_answer_is_given_up(impatient: httpx.AsyncClient) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", impatient.base_url.port))
        asked = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20
        await asyncio.get_running_loop().sock_sendall(client, asked)

        here = client.getsockname()

        async def cut() -> bool:
            return all(connection.raddr != here for connection in psutil.Process().net_connections("tcp"))

        await wait_until(cut, seconds=10, what="the server has no such connection any more", every=0.05)


async def test_request_that_takes_too_long_is_ended(
    settings_for: Callable[..., GatewaySettings], gateway: Any, account: Any
) -> None:
    settings = settings_for(request_seconds=0.5, answer_timeout_seconds=0.4)
    token = {"Authorization": account.http.headers["Authorization"]}
    async with running(settings) as http, gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("LOCK TABLE workspaces IN ACCESS EXCLUSIVE MODE"))
        answer = await http.post("/api/v1/workspaces", json={"name": "a"}, headers=token)
        assert answer.status_code == 504
        assert answer.headers["content-type"] == PROBLEM
        assert answer.headers["x-content-type-options"] == "nosniff"
        told = await http.get("/v1/models", headers=token)
        assert told.status_code == 504
        assert told.json()["error"]["type"] == "server_error"


async def test_event_stream_may_take_longer_than_a_request(
    settings_for: Callable[..., GatewaySettings], person: Any, ingest_service: Any
) -> None:
    settings = settings_for(request_seconds=3, answer_timeout_seconds=2)
    path = f"/api/v1/workspaces/{person.workspace}/events/stream"
    token = {"Authorization": person.http.headers["Authorization"]}
    async with running(settings) as http, http.stream("GET", path, headers=token, timeout=20) as response:
        assert response.status_code == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.5):
                assert [line async for line in response.aiter_lines()] == [], "it has ended"


# Size ------------------------------------------------------------------------------------------------------------


async def test_address_that_is_too_long_is_refused(impatient: httpx.AsyncClient) -> None:
    answer = await impatient.get("/nowhere", params={"q": "x" * URL_MAX})
    assert answer.status_code == 414
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("headers", [{"X-Large": "x" * HEAD_MAX}, {f"X-{n}": "x" * 100 for n in range(1000)}])
async def test_headers_that_are_too_large_are_refused(impatient: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await impatient.get("/nowhere", headers=headers)
    assert answer.status_code == 431
    assert answer.json()["detail"] == f"The headers of a request may have {HEAD_MAX} bytes."


async def test_header_without_an_end_is_refused_before_it_fills_the_memory(wire: Wire) -> None:
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nX-Large: ")
    answering = asyncio.create_task(wire.answer())

    async def refused() -> bool:
        wire.send(b"x" * 2000)
        return answering.done()

    await wait_until(refused, seconds=10, what="the server refuses it", every=0.001)
    assert (await answering)[0] == 431


@pytest.mark.parametrize(
    "sent",
    [
        "nonsense\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_request_is_told_so_and_cut(wire: Wire, sent: str | bytes) -> None:
    wire.send(sent)
    assert (await wire.answer())[0] == 400
    assert await wire.closed() == b""


@pytest.mark.parametrize("depth", [33, 100, 900, 5_000, 200_000])
async def test_body_that_is_nested_too_deeply_is_the_callers_error(person: Any, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for path, body in (
        (f"/api/v1/workspaces/{person.workspace}/sources", f'{{"kind": "text", "name": "a", "config": {{"a": {deep}}}}}'),
        ("/api/v1/workspaces", f'{{"name": {deep}}}'),
        ("/api/v1/workspaces", deep),
    ):
        answer = await person.http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"] == "urn:docutalk:problem:invalid"


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b'{"name": ' + b"9" * 5000 + b"}", b'{"\\ud800": 1}', b'{"name": NaN}', b"[]", b"null"]
)
async def test_body_that_cannot_be_read_is_the_callers_error(person: Any, body: bytes) -> None:
    answer = await person.http.post("/api/v1/workspaces", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("path", ["/mcp", "/v1/embeddings"])
async def test_body_that_is_far_too_large_is_refused_in_every_protocol(person: Any, path: str) -> None:
    answer = await person.http.post(
        path, json={"input": "x" * (5 << 20)}, headers={"Accept": "application/json, text/event-stream"}
    )
    assert answer.status_code == 413


# Speed -----------------------------------------------------------------------------------------------------------


async def test_person_who_asks_too_fast_is_told_when_to_go_on(gateway_with: Any) -> None:
    async with gateway_with(requests_per_minute=5) as gateway:
        person = await gateway.person()
        await start_of_a_minute(10)
        answers = [await person.http.get("/api/v1/users/me") for _ in range(12)]
        slow = answers[-1]
        assert slow.status_code == 429
        assert slow.headers["content-type"] == PROBLEM
        assert slow.json()["type"] == "urn:docutalk:problem:too_many_requests"
        assert 1 <= int(slow.headers["retry-after"]) <= 60
        told = await person.http.get("/v1/models")
        assert told.status_code == 429
        assert told.json()["error"]["code"] == "rate_limit_exceeded"
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert (await person.http.post("/mcp", json=call)).status_code == 429
        assert (await (await gateway.person()).http.get("/v1/models")).status_code == 200


async def test_request_with_an_idempotency_key_counts_once(gateway_with: Any) -> None:
    async with gateway_with(requests_per_minute=11) as gateway:
        person = await gateway.person()
        made = [
            await person.http.post("/api/v1/workspaces", json={"name": "a"}, headers={"Idempotency-Key": str(n)})
            for n in range(10)
        ]
        assert [answer.status_code for answer in made] == [201] * 10


async def test_request_without_a_sign_in_counts_once_also_when_it_is_only_repeated(gateway_with: Any) -> None:
    async with gateway_with(anonymous_requests_per_minute=5) as gateway:
        async with gateway.db.transaction(Cause.new()) as tx:
            await tx.session.execute(text("DELETE FROM rate_windows"))
        http, key = await gateway.client(), {"Idempotency-Key": uuid4().hex}
        body = {"email": f"{uuid4().hex}@example.com", "password": "a long enough password"}
        statuses = [(await http.post("/api/v1/auth/register", json=body, headers=key)).status_code for _ in range(12)]
        # More than five of them are of one minute, also when it ends in between.
        assert statuses[:5] == [201] * 5
        assert 429 in statuses


async def test_address_that_asks_too_fast_without_a_sign_in_is_told_so(gateway_with: Any) -> None:
    async with gateway_with(anonymous_requests_per_minute=5) as gateway:
        http = await gateway.client()
        await start_of_a_minute(10)
        answers = [await http.post("/api/v1/auth/refresh", json={"refresh_token": "a"}) for _ in range(12)]
        assert answers[-1].status_code == 429
        assert "retry-after" in answers[-1].headers
        for path in ("/livez", "/readyz", "/health", "/metrics"):
            assert (await http.get(path)).status_code == 200


# From where ------------------------------------------------------------------------------------------------------


async def _address(gateway: Any, forwarded: str) -> str:
    """What the gateway takes for the address of somebody who fails to sign in."""
    http = await gateway.client()
    body = {"email": f"{uuid4().hex}@example.com", "password": "a wrong password"}
    answer = await http.post("/api/v1/auth/login", json=body, headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == 401, answer.text
    async with gateway.db.read() as session:
        return str(await session.scalar(select(AuditEntry.address).order_by(AuditEntry.id.desc()).limit(1)))


async def test_address_that_a_client_claims_is_not_believed(gateway: Any) -> None:
    assert await _address(gateway, "192.0.2.1") == "127.0.0.1"


async def test_address_that_a_trusted_proxy_tells_is_believed_and_what_came_before_is_not(gateway_with: Any) -> None:
    async with gateway_with(trusted_proxies="127.0.0.1, 10.0.0.0/8") as gateway:
        assert await _address(gateway, "198.51.100.7") == "198.51.100.7"
        assert await _address(gateway, "192.0.2.1, 198.51.100.7, 10.1.2.3") == "198.51.100.7"
    async with gateway_with(trusted_proxies="10.0.0.0/8") as gateway:
        assert await _address(gateway, "192.0.2.1") == "127.0.0.1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"trusted_proxies": "*"},
        {"trusted_proxies": "proxy.example.com"},
        {"cors_origins": "*"},
        {"cors_origins": "app.example.com"},
        {"cors_origins": "https://app.example.com/"},
        {"request_seconds": 300},
        {"access_token_seconds": 0},
        {"refresh_token_days": 0},
    ],
)
def test_setting_that_would_let_in_everybody_or_nobody_is_refused(
    settings_for: Callable[..., GatewaySettings], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        settings_for(**wrong)


# Browsers --------------------------------------------------------------------------------------------------------


async def test_browsers_are_told_to_be_careful_with_every_answer(gateway: Any) -> None:
    http = await gateway.client()
    for path in ("/api/v1/users/me", "/nowhere", "/livez", "/docs", "/openapi.json"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-site"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "strict-transport-security" not in headers


@pytest.mark.parametrize(("url", "told"), [("https://docutalk.example.com", True), ("http://docutalk.example.com", False)])
async def test_browsers_are_told_to_use_https_where_that_is_the_public_address(gateway_with: Any, url: str, told: bool) -> None:
    async with gateway_with(public_url=url) as gateway:
        headers = (await (await gateway.client()).get("/livez")).headers
        assert ("strict-transport-security" in headers) is told


async def test_listed_origin_may_read_every_answer_and_no_other_may(gateway_with: Any) -> None:
    async with gateway_with(cors_origins="https://app.example", requests_per_minute=5) as gateway:
        person = await gateway.person()
        listed, other = {"Origin": "https://app.example"}, {"Origin": "https://app.example.evil.example"}
        preflight = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}
        asked = await person.http.options("/api/v1/users/me", headers={**listed, **preflight})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://app.example"
        assert "PATCH" in asked.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in asked.headers
        assert "access-control-allow-origin" not in (await person.http.options("/", headers={**other, **preflight})).headers
        await start_of_a_minute(10)
        answers = {
            200: await person.http.get("/livez", headers=listed),
            404: await person.http.get("/nowhere", headers=listed),
            422: await person.http.post("/api/v1/auth/login", headers=listed),
            429: [await person.http.get("/api/v1/users/me", headers=listed) for _ in range(12)][-1],
        }
        for status, answer in answers.items():
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert "retry-after" in answer.headers["access-control-expose-headers"].lower()
            assert "access-control-allow-credentials" not in answer.headers
            assert "origin" in answer.headers["vary"].lower()
        assert "access-control-allow-origin" not in (await person.http.get("/livez", headers=other)).headers


async def test_listed_origin_may_read_that_a_dependency_is_away(stack: Any, gateway_with: Any, account: Any) -> None:
    async with gateway_with(cors_origins="https://app.example") as gateway:
        http = await gateway.client()
        http.headers["Authorization"] = account.http.headers["Authorization"]
        await stack.backend.stop_server("postgres")
        try:
            answer = await http.get("/api/v1/users/me", headers={"Origin": "https://app.example"})
        finally:
            await stack.backend.start_server("postgres")
        assert answer.status_code == 503
        assert answer.headers["access-control-allow-origin"] == "https://app.example"

        async def back() -> bool:
            return (await http.get("/api/v1/users/me")).status_code == 200

        await wait_until(back, seconds=20, what="PostgreSQL is back")

"""Three gateways on one database are one: what one of them counts, remembers or ends holds at the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from docutalk_gateway.adapters.models import RateWindow
from docutalk_gateway.use_cases.limit_requests import BLOCKS, WINDOW_SECONDS
from sqlalchemy import select

from .conftest import start_of_a_minute

GATEWAYS = 3
LIMIT = 100
BLOCK = LIMIT // BLOCKS
FAILURES = 4


@dataclass
class Fleet:
    """The gateways, and a client of each."""

    gateways: list[Any]
    clients: list[httpx.AsyncClient]

    def signed_in(self, person: Any) -> list[httpx.AsyncClient]:
        """The clients, with a person's token."""
        for client in self.clients:
            client.headers["Authorization"] = person.http.headers["Authorization"]
        return self.clients


@pytest.fixture(scope="module")
async def fleet(gateway_with: Any) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        settings = {"requests_per_minute": LIMIT, "login_failures": FAILURES}
        gateways = [await stack.enter_async_context(gateway_with(**settings)) for _ in range(GATEWAYS)]
        yield Fleet(gateways, [await gateway.client() for gateway in gateways])


async def test_limit_of_a_person_holds_for_all_gateways_together(fleet: Fleet) -> None:
    person = await fleet.gateways[0].person()
    clients = fleet.signed_in(person)
    await start_of_a_minute(15)
    answers = await asyncio.gather(*(clients[n % GATEWAYS].get("/api/v1/users/me") for n in range(2 * LIMIT)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert LIMIT - GATEWAYS * BLOCK <= statuses.count(200) <= LIMIT
    for client in clients:
        refused = await client.get("/api/v1/users/me")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= WINDOW_SECONDS


async def test_requests_are_written_a_few_times_a_window(fleet: Fleet) -> None:
    person = await fleet.gateways[0].person()
    clients = fleet.signed_in(person)
    await start_of_a_minute(15)
    for n in range(30):
        assert (await clients[n % GATEWAYS].get("/api/v1/users/me")).status_code == 200
    async with fleet.gateways[0].db.read() as session:
        taken = await session.scalar(
            select(RateWindow.taken)
            .where(RateWindow.bucket == f"requests:user:{person.id}")
            .order_by(RateWindow.window.desc())
            .limit(1)
        )
    # Each gateway took whole blocks, the last of which may not be spent.
    assert 30 <= taken <= 31 + GATEWAYS * BLOCK


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_guesses_at_a_password_are_counted_at_all_gateways(fleet: Fleet) -> None:
    body = {"email": f"{uuid4().hex}@example.com", "password": "a wrong password"}
    statuses = [
        (await fleet.clients[n % GATEWAYS].post("/api/v1/auth/login", json=body)).status_code for n in range(FAILURES + 3)
    ]
    assert statuses == [401] * FAILURES + [429] * 3


async def test_request_with_one_key_at_all_gateways_is_done_once(fleet: Fleet) -> None:
    person = await fleet.gateways[0].person()
    clients = fleet.signed_in(person)
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(client.post("/api/v1/workspaces", json={"name": "One"}, headers=key) for client in clients))
    assert {answer.status_code for answer in answers} <= {201, 409}
    again = [await client.post("/api/v1/workspaces", json={"name": "One"}, headers=key) for client in clients]
    assert {answer.status_code for answer in again} == {201}
    assert len({answer.json()["id"] for answer in again}) == 1
    assert (await clients[0].get("/api/v1/workspaces")).json()["total"] == 2


async def test_sign_in_that_was_ended_at_one_gateway_is_refused_by_the_others_at_once(fleet: Fleet) -> None:
    person = await fleet.gateways[0].person()
    clients = fleet.signed_in(person)
    assert [(await client.get("/api/v1/users/me")).status_code for client in clients] == [200] * GATEWAYS
    ended = await clients[0].post("/api/v1/auth/logout", json={"refresh_token": person.refresh_token})
    assert ended.status_code == 204
    assert [(await client.get("/api/v1/users/me")).status_code for client in clients] == [401] * GATEWAYS


async def test_refresh_token_is_used_up_at_all_gateways(fleet: Fleet) -> None:
    person = await fleet.gateways[0].person()
    used = [
        (await client.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})).status_code
        for client in fleet.clients[:2]
    ]
    assert used == [200, 401]


async def test_sign_in_of_one_gateway_holds_at_one_that_starts_later(fleet: Fleet, gateway_with: Any) -> None:
    person = await fleet.gateways[0].person()
    async with gateway_with() as later:
        http = await later.client()
        http.headers["Authorization"] = person.http.headers["Authorization"]
        assert (await http.get("/api/v1/users/me")).status_code == 200

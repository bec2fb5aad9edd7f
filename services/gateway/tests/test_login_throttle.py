"""Sign-ins that fail: how many are let try, of whom, from where, and that none is looked at beyond."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.db import Cause
from docutalk_gateway.adapters.audit_log import Actor
from docutalk_gateway.adapters.models import AuditEntry, RateWindow
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens
from docutalk_gateway.domain import TooManyRequests, WrongCredentials
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits
from docutalk_gateway.use_cases.sign_in import sign_in
from sqlalchemy import select, text

PASSWORD = "a long enough password"
LOGIN = "/api/v1/auth/login"


@pytest.fixture(autouse=True)
async def nothing_failed(gateway: Any, no_turn_of_a_window: None) -> AsyncIterator[None]:
    """All tests come from one address: what fails in one must not count in the next."""
    yield
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM rate_windows"))


async def attempt(http: Any, email: str, password: str = "not the password") -> int:
    """The status of a sign-in."""
    return int((await http.post(LOGIN, json={"email": email, "password": password})).status_code)


async def failures(http: Any, email: str, count: int) -> list[int]:
    """The statuses of so many with a wrong password, one after the other."""
    return [await attempt(http, email) for _ in range(count)]


async def test_sixth_failure_is_refused_before_the_password_is_looked_at(gateway: Any) -> None:
    person, http = await gateway.person(), await gateway.client()
    assert await failures(http, person.email, 6) == [401] * 5 + [429]
    right = await http.post(LOGIN, json={"email": person.email, "password": PASSWORD})
    assert (right.status_code, right.json()["type"]) == (429, "urn:docutalk:problem:too_many_requests")
    assert 1 <= int(right.headers["Retry-After"]) <= 900
    assert right.json()["detail"].startswith("Too many attempts have failed. Try again in ")
    form = await http.post("/api/v1/auth/token", data={"username": person.email, "password": PASSWORD})
    assert form.status_code == 429, "the form of the API docs is a way around"
    assert (await person.http.get("/api/v1/users/me")).status_code == 200, "who is signed in is not concerned"


async def test_unknown_account_is_throttled_just_like_a_known_one(gateway: Any) -> None:
    person, http = await gateway.person(), await gateway.client()

    async def answers(email: str) -> list[tuple[int, Any]]:
        given = [await http.post(LOGIN, json={"email": email, "password": "not the password"}) for _ in range(7)]
        return [(answer.status_code, answer.json()["detail"]) for answer in given]

    assert await answers(person.email) == await answers(f"{uuid4().hex}@example.com")


async def test_account_is_counted_as_one_however_its_address_is_spelt(gateway: Any) -> None:
    http, name = await gateway.client(), uuid4().hex
    email = f"i{name}@example.com"
    await http.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})
    # PostgreSQL takes some letters for equal that Python does not, as it is set up here or elsewhere.
    spellings = [email, email.upper(), f"I{name}@Example.com", f"\u0130{name}@example.com", f"i{name}@EXAMPLE.com"]
    equal = text("SELECT CAST(:one AS citext) = CAST(:other AS citext)")
    async with gateway.db.read() as session:
        spellings = [one for one in spellings if await session.scalar(equal, {"one": one, "other": email})]
    assert len(spellings) >= 4
    statuses = [await attempt(http, spellings[number % len(spellings)]) for number in range(6)]
    assert statuses == [401] * 5 + [429]


async def test_success_clears_what_failed_before(gateway: Any) -> None:
    person, http = await gateway.person(), await gateway.client()
    for _ in range(2):
        assert await failures(http, person.email, 4) == [401] * 4
        assert await attempt(http, person.email, PASSWORD) == 200
    async with gateway.db.read() as session:
        rows = list(await session.scalars(select(RateWindow).where(RateWindow.bucket.startswith("login:"))))
    counted = {row.bucket.split(":")[1]: row.taken for row in rows}
    assert counted == {"account": 8, "address": 8}, "a right password takes back nothing but the pair's failures"


@pytest.mark.parametrize("hashed", ["as now", "as formerly"])
async def test_many_right_sign_ins_at_once_are_all_let_in(gateway: Any, hashed: str) -> None:
    """Also where the first of them replaces the hash by one with the parameters of today."""
    person, http = await (gateway.registered() if hashed == "as now" else gateway.person()), await gateway.client()
    assert await asyncio.gather(*(attempt(http, person.email, PASSWORD) for _ in range(12))) == [200] * 12


async def test_failures_at_once_are_not_more_than_one_after_the_other(gateway: Any) -> None:
    person, http = await gateway.person(), await gateway.client()
    statuses = await asyncio.gather(*(attempt(http, person.email) for _ in range(12)))
    assert sorted(statuses) == [401] * 5 + [429] * 7


async def test_gateways_count_together(gateway: Any, gateway_with: Any) -> None:
    person = await gateway.person()
    async with gateway_with() as second:
        clients = [await gateway.client(), await second.client()]
        statuses = [await attempt(clients[number % 2], person.email) for number in range(6)]
        assert statuses == [401] * 5 + [429]
        statuses = await asyncio.gather(*(attempt(clients[number % 2], "nobody@example.com") for number in range(20)))
        assert sorted(statuses) == [401] * 5 + [429] * 15


async def test_address_that_tries_many_accounts_is_refused(gateway_with: Any) -> None:
    async with gateway_with(login_failures_per_address=8) as strict:
        person, http = await strict.person(), await strict.client()
        statuses = [await attempt(http, f"{uuid4().hex}@example.com") for _ in range(9)]
        assert statuses == [401] * 8 + [429]
        assert await attempt(http, person.email, PASSWORD) == 429


async def test_registering_to_see_which_addresses_are_taken_is_throttled(gateway_with: Any) -> None:
    async with gateway_with(login_failures_per_address=2) as strict:
        person, http = await strict.person(), await strict.client()

        async def register(email: str) -> int:
            return int((await http.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})).status_code)

        assert [await register(f"{uuid4().hex}@example.com") for _ in range(3)] == [201] * 3
        assert [await register(person.email) for _ in range(3)] == [409, 409, 429]
        assert await register(f"{uuid4().hex}@example.com") == 429, "who is refused would know that the address is taken"


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    """The real ones: as slow as they are."""
    return Passwords()


async def fail_from(gateway: Any, passwords: Passwords, address: str, email: str) -> type[Exception]:
    """How a sign-in with a wrong password from some address is refused."""
    try:
        await sign_in(
            gateway.db,
            passwords,
            AccessTokens(seconds=60),
            Cause.new(),
            Actor(address=address),
            limits=AttemptLimits("a secret", per_account_and_address=3, per_account=8, per_address=50),
            email=email,
            password="not the password",
            lifetime=timedelta(days=1),
        )
    except (TooManyRequests, WrongCredentials) as error:
        return type(error)
    raise AssertionError("signed in with a wrong password")


async def test_account_that_is_tried_from_many_addresses_is_closed_to_all(gateway: Any, passwords: Passwords) -> None:
    person = await gateway.person()
    failed = [await fail_from(gateway, passwords, f"192.0.2.{number}", person.email) for number in range(9)]
    assert failed == [WrongCredentials] * 8 + [TooManyRequests]


async def test_single_address_can_not_lock_an_account_for_others(gateway: Any, passwords: Passwords) -> None:
    person = await gateway.person()
    failed = [await fail_from(gateway, passwords, "192.0.2.66", person.email) for _ in range(20)]
    assert failed == [WrongCredentials] * 3 + [TooManyRequests] * 17
    assert await attempt(await gateway.client(), person.email, PASSWORD) == 200


async def test_addresses_of_one_ipv6_network_are_counted_as_one(gateway: Any, passwords: Passwords) -> None:
    person = await gateway.person()
    failed = [await fail_from(gateway, passwords, f"2001:db8::{number}", person.email) for number in range(4)]
    assert failed == [WrongCredentials] * 3 + [TooManyRequests]
    assert await fail_from(gateway, passwords, "2001:db8:0:1::1", person.email) is WrongCredentials


async def test_failures_are_audited_each_and_the_refusal_once(gateway: Any) -> None:
    person, http = await gateway.person(), await gateway.client()
    await failures(http, person.email, 9)
    async with gateway.db.read() as session:
        entries = list(await session.scalars(select(AuditEntry).where(AuditEntry.target_id == person.id).order_by(AuditEntry.id)))
    actions = [entry.action for entry in entries if entry.action.startswith("sign_in.")]
    assert actions == ["sign_in.failed"] * 5 + ["sign_in.throttled"]
    throttled = entries[-1]
    assert (throttled.actor, throttled.actor_id, throttled.address) == ("nobody", None, "127.0.0.1")
    assert person.email not in str(throttled.details)


async def test_what_is_counted_names_no_account(gateway: Any) -> None:
    person, http = await gateway.person(), await gateway.client()
    await failures(http, person.email, 1)
    async with gateway.db.read() as session:
        buckets = [row.bucket for row in await session.scalars(select(RateWindow)) if row.bucket.startswith("login:")]
    name = person.email.partition("@")[0]
    plain = hashlib.sha256(person.email.encode()).hexdigest()
    assert len(buckets) == 3
    assert not [bucket for bucket in buckets if name in bucket or plain in bucket]

"""Accounts, sign-ins, tokens."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from docutalk_common.db import Cause
from docutalk_common.process import wait_until
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens, hash_token
from docutalk_gateway.use_cases.ensure_admin import ensure_admin
from docutalk_gateway.use_cases.sign_in import Client, issue_pair
from sqlalchemy import text

PASSWORD = "a long enough password"


@pytest.fixture
async def person(gateway: Any) -> Any:
    """A new account: these tests end sign-ins and use up refresh tokens."""
    return await gateway.person()


async def test_person_registers_and_gets_a_workspace_of_their_own(gateway: Any) -> None:
    person = await gateway.person()
    workspaces = (await person.http.get("/api/v1/workspaces")).json()
    assert [(w["id"], w["role"]) for w in workspaces["items"]] == [(str(person.workspace), "owner")]
    assert workspaces["total"] == 1


async def test_second_account_with_the_same_address_in_another_case_is_refused(gateway: Any) -> None:
    http = await gateway.client()
    email = f"{uuid4().hex}@example.com"
    assert (await http.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})).status_code == 201
    again = await http.post("/api/v1/auth/register", json={"email": email.upper(), "password": PASSWORD})
    assert again.status_code == 409
    assert again.json()["type"] == "urn:docutalk:problem:email_taken"


async def test_two_registrations_of_one_address_at_once_make_one_account(gateway: Any) -> None:
    http = await gateway.client()
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
    answers = await asyncio.gather(*(http.post("/api/v1/auth/register", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_registration_is_refused_when_closed(gateway_with: Any) -> None:
    async with gateway_with(open_registration=False) as closed:
        http = await closed.client()
        answer = await http.post("/api/v1/auth/register", json={"email": "x@example.com", "password": PASSWORD})
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:docutalk:problem:registration_closed"


@pytest.mark.parametrize(
    "body",
    [
        {"email": "nobody", "password": PASSWORD},
        {"email": "a@example.com", "password": "sesame"},
        {"email": "a@example.com"},
        {"email": "a@example.com", "password": PASSWORD, "is_admin": True},
    ],
)
async def test_registration_that_is_not_valid_says_which_field(gateway: Any, body: dict[str, Any]) -> None:
    answer = await (await gateway.client()).post("/api/v1/auth/register", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["errors"][0]["location"][0] == "body"
    assert body.get("password", "none") not in answer.text


async def test_unknown_account_and_wrong_password_look_the_same(gateway: Any) -> None:
    person = await gateway.person()
    http = await gateway.client()

    async def attempt(email: str) -> tuple[float, dict[str, Any], int]:
        # Of this process, in which the gateway runs: other work on the machine does not count.
        started = time.process_time()
        answer = await http.post("/api/v1/auth/login", json={"email": email, "password": "not the password"})
        problem = answer.json()
        problem.pop("trace_id")
        return time.process_time() - started, problem, answer.status_code

    await attempt("warm-up@example.com")
    known = [await attempt(person.email) for _ in range(3)]
    unknown = [await attempt("nobody@example.com") for _ in range(3)]
    assert {str(a[1:]) for a in known} == {str(a[1:]) for a in unknown}
    assert known[0][2] == 401
    # The quickest of three: what else the process does only ever adds time.
    assert min(a[0] for a in unknown) > 0.5 * min(a[0] for a in known)


async def test_password_form_of_the_api_docs_signs_in(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    answer = await http.post("/api/v1/auth/token", data={"username": person.email, "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 900


async def test_refresh_gives_a_new_pair_and_uses_the_old_token_up(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    pair = (await http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})).raise_for_status().json()
    assert pair["refresh_token"] != person.refresh_token
    me = await http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {pair['access_token']}"})
    assert me.json()["email"] == person.email


async def test_refresh_token_used_twice_ends_the_whole_sign_in(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    other = await gateway.sign_in(person.email)
    pair = (await http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})).raise_for_status().json()
    stolen = await http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    assert stolen.status_code == 401
    assert stolen.json()["type"] == "urn:docutalk:problem:invalid_refresh_token"
    newest = await http.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    assert newest.status_code == 401, "the family is not revoked"
    unrelated = await http.post("/api/v1/auth/refresh", json={"refresh_token": other.refresh_token})
    assert unrelated.status_code == 200, "another sign-in of the same person is none of its business"


async def test_refresh_token_used_twice_ends_also_what_a_refresh_is_just_adding(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    pair = (await http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})).raise_for_status().json()
    lifetime = timedelta(days=1)
    async with gateway.db.transaction(Cause.new()) as tx:
        token = await repository.lock_refresh_token(tx.session, hash_token(pair["refresh_token"]))
        assert token is not None
        token.used_at = datetime.now(UTC)
        newest = await issue_pair(
            tx.session,
            AccessTokens("test " * 8, seconds=60),
            Client(None, None),
            user_id=person.id,
            family_id=token.family_id,
            lifetime=lifetime,
        )
        stolen = asyncio.create_task(http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token}))

        async def waits() -> bool:
            async with gateway.db.read() as session:
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND wait_event_type = 'Lock'"
                return bool(await session.scalar(text(waiting)))

        await wait_until(waits, seconds=10, what="the second use waits for the refresh")
    assert (await stolen).status_code == 401
    again = await http.post("/api/v1/auth/refresh", json={"refresh_token": newest.refresh_token})
    assert again.status_code == 401, "the token that the refresh added is not revoked"


async def test_refresh_token_used_by_two_at_once_works_once(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    answers = await asyncio.gather(
        *(http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token}) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]


async def test_refresh_token_does_not_work_after_logout(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    assert (await http.post("/api/v1/auth/logout", json={"refresh_token": person.refresh_token})).status_code == 204
    again = await http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    assert again.status_code == 401
    assert (await http.post("/api/v1/auth/logout", json={"refresh_token": "never seen"})).status_code == 204


async def test_refresh_tokens_are_stored_as_hashes_with_their_origin(gateway: Any, person: Any) -> None:
    from docutalk_gateway.adapters.models import RefreshToken
    from sqlalchemy import select

    async with gateway.db.read() as session:
        rows = list(await session.scalars(select(RefreshToken).where(RefreshToken.user_id == person.id)))
    assert [row.address for row in rows] == ["127.0.0.1"]
    assert rows[0].user_agent is not None
    assert "httpx" in rows[0].user_agent
    assert person.refresh_token.encode() not in rows[0].token_hash


@pytest.mark.parametrize("case", ["none", "garbage", "expired", "other secret", "no algorithm", "other scheme"])
async def test_request_without_a_valid_access_token_is_refused(gateway: Any, person: Any, case: str) -> None:
    secret = gateway.settings.jwt_secret.get_secret_value()
    claims = {"iss": "docutalk", "sub": str(person.id), "sid": str(uuid4()), "exp": time.time() + 60}
    header = {
        "none": {},
        "garbage": {"Authorization": "Bearer garbage"},
        "expired": {"Authorization": f"Bearer {jwt.encode({**claims, 'exp': time.time() - 1}, secret, algorithm='HS256')}"},
        "other secret": {"Authorization": f"Bearer {jwt.encode(claims, 'x' * 32, algorithm='HS256')}"},
        "no algorithm": {"Authorization": f"Bearer {jwt.encode(claims, None, algorithm='none')}"},
        "other scheme": {"Authorization": "Basic YTpi"},
    }[case]
    answer = await (await gateway.client()).get("/api/v1/users/me", headers=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_first_administrator_comes_from_settings(gateway: Any) -> None:
    admin = await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())
    assert (await admin.http.get("/api/v1/users/me")).json()["is_admin"] is True


async def test_several_gateways_starting_at_once_make_one_administrator(gateway: Any) -> None:
    email = f"{uuid4().hex}@example.com"
    made = await asyncio.gather(*(ensure_admin(gateway.db, Passwords(), email=email, password=PASSWORD) for _ in range(3)))
    assert sorted(made) == [False, False, True]
    assert await ensure_admin(gateway.db, Passwords(), email=email, password="another password") is False
    async with gateway.db.read() as session:
        user = await repository.user_by_email(session, email)
    assert user is not None
    assert user.is_admin
    assert await Passwords().matches(PASSWORD, user.password_hash), "a second start changed the password"

"""Accounts, sign-ins, tokens."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
import pytest
from docutalk_common.db import Cause
from docutalk_common.process import wait_until
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import RefreshToken, SignIn
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens, Key, hash_token
from docutalk_gateway.use_cases.ensure_admin import ensure_admin
from docutalk_gateway.use_cases.keep_signing_keys import load_signing_keys
from docutalk_gateway.use_cases.sign_in import issue_pair
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import select, text

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


async def test_unknown_account_and_wrong_password_are_told_the_same(gateway: Any) -> None:
    person = await gateway.person()
    http = await gateway.client()

    async def attempt(email: str) -> tuple[int, dict[str, Any]]:
        answer = await http.post("/api/v1/auth/login", json={"email": email, "password": "not the password"})
        problem = answer.json()
        problem.pop("trace_id")
        return answer.status_code, problem

    known = await attempt(person.email)
    assert known == await attempt(f"{uuid4().hex}@example.com")
    assert known[0] == 401


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
    tokens = AccessTokens(seconds=60)
    await load_signing_keys(gateway.db, tokens, gateway.settings.jwt_secret.get_secret_value())
    async with gateway.db.transaction(Cause.new()) as tx:
        found = await repository.lock_refresh_token(tx.session, hash_token(pair["refresh_token"]))
        assert found is not None
        found[0].used_at = datetime.now(UTC)
        newest = await issue_pair(tx.session, tokens, found[1])
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


async def test_refresh_tokens_are_stored_as_hashes_and_the_sign_in_with_its_origin(gateway: Any, person: Any) -> None:
    async with gateway.db.read() as session:
        [sign_in] = await session.scalars(select(SignIn).where(SignIn.user_id == person.id))
        [token] = await session.scalars(select(RefreshToken).where(RefreshToken.sign_in_id == sign_in.id))
    assert sign_in.address == "127.0.0.1"
    assert "httpx" in sign_in.user_agent
    assert token.token_hash == hash_token(person.refresh_token)
    assert person.refresh_token.encode() not in token.token_hash


@pytest.mark.parametrize(
    "case", ["none", "garbage", "expired", "other secret", "other sign-in", "other key", "no algorithm", "other scheme"]
)
async def test_request_without_a_valid_access_token_is_refused(gateway: Any, person: Any, case: str) -> None:
    given = person.http.headers["Authorization"].removeprefix("Bearer ")
    named = jwt.get_unverified_header(given)
    claims = jwt.decode(given, options={"verify_signature": False})
    async with gateway.db.read() as session:
        [stored] = [key for key in await repository.signing_keys(session, datetime.now(UTC)) if key.id == named["kid"]]
    secret = Key.derive(stored.id, stored.salt, gateway.settings.jwt_secret.get_secret_value()).secret

    def signed(claims: dict[str, Any], secret: bytes | None, **header: str) -> dict[str, str]:
        algorithm = "HS256" if secret is not None else "none"
        return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm=algorithm, headers={**named, **header})}"}

    assert (await (await gateway.client()).get("/api/v1/users/me", headers=signed(claims, secret))).status_code == 200
    header = {
        "none": {},
        "garbage": {"Authorization": "Bearer garbage"},
        "expired": signed({**claims, "exp": time.time() - 1}, secret),
        "other secret": signed(claims, b"x" * 32),
        "other sign-in": signed({**claims, "sid": str(uuid4())}, secret),
        "other key": signed(claims, secret, kid="0" * 16),
        "no algorithm": signed(claims, None, alg="none"),
        "other scheme": {"Authorization": "Basic YTpi"},
    }[case]
    answer = await (await gateway.client()).get("/api/v1/users/me", headers=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_ended_sign_in_is_refused_with_the_next_request(gateway: Any, person: Any) -> None:
    assert (await person.http.get("/api/v1/users/me")).status_code == 200
    await (await gateway.client()).post("/api/v1/auth/logout", json={"refresh_token": person.refresh_token})
    refused = await person.http.get("/api/v1/users/me")
    assert refused.status_code == 401
    assert refused.json()["detail"] == "This sign-in has ended. Sign in again."


async def test_first_administrator_comes_from_settings(gateway: Any) -> None:
    admin = await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())
    assert (await admin.http.get("/api/v1/users/me")).json()["is_admin"] is True


@pytest.mark.usefixtures("without_administrators")
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


async def test_settings_bring_no_second_administrator_to_an_installation_that_has_one(gateway: Any) -> None:
    email = f"{uuid4().hex}@example.com"
    assert await ensure_admin(gateway.db, Passwords(), email=email, password=PASSWORD) is False
    async with gateway.db.read() as session:
        assert await repository.user_by_email(session, email) is None


async def test_password_hashed_with_other_parameters_is_hashed_anew_at_a_sign_in(gateway: Any, person: Any) -> None:
    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8192),)).hash(PASSWORD)
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("UPDATE users SET password_hash = :hash WHERE id = :id"), {"hash": weak, "id": person.id})
    await gateway.sign_in(person.email)
    async with gateway.db.read() as session:
        user = await repository.user_by_id(session, person.id)
    assert user is not None
    assert user.password_hash != weak
    assert await Passwords().check(PASSWORD, user.password_hash) == (True, None)


async def test_form_with_a_password_too_long_for_anybody_is_refused(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    answer = await http.post("/api/v1/auth/token", data={"username": person.email, "password": "x" * 100_000})
    assert answer.status_code == 401

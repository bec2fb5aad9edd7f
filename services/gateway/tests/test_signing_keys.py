"""What access tokens are signed with: rotated by one gateway, known to all, and nothing that the database gives away."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from docutalk_common.db import Cause
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import AuditEntry, SigningKey
from docutalk_gateway.adapters.tokens import AccessTokens, Identity, Key
from docutalk_gateway.use_cases.keep_signing_keys import renew_signing_key
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from sqlalchemy import func, select, text

KEYS = "/api/v1/admin/signing-keys"
ME = "/api/v1/users/me"


@pytest.fixture(scope="module")
async def second(gateway: Any, gateway_with: Any) -> AsyncIterator[Any]:
    """Another gateway of the same installation."""
    async with gateway_with() as other:
        yield other


async def administrator(gateway: Any) -> Any:
    """The administrator, signed in anew: who rotates at once has to, too."""
    return await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())


@pytest.fixture
async def admin(gateway: Any) -> Any:
    """The same, for one rotation."""
    return await administrator(gateway)


@pytest.fixture
async def person(gateway: Any, account: Any) -> Any:
    """The module's account, signed in anew: these tests end the time of access tokens."""
    return await gateway.sign_in(account.email)


async def rotate(admin: Any, **body: Any) -> dict[str, Any]:
    """A new key."""
    answer = await admin.http.post(KEYS, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def signed_with(person: Any) -> str:
    """The key of somebody's access token."""
    kid: str = jwt.get_unverified_header(person.http.headers["Authorization"].removeprefix("Bearer "))["kid"]
    return kid


async def at(gateway: Any, person: Any) -> int:
    """The status of a request of somebody at some gateway."""
    headers = {"Authorization": person.http.headers["Authorization"]}
    return int((await (await gateway.client()).get(ME, headers=headers)).status_code)


async def test_token_of_the_key_before_stays_valid_until_its_end(gateway: Any, admin: Any, person: Any) -> None:
    made = await rotate(admin)
    assert made["retires_at"] is None
    assert signed_with(person) != made["id"]
    assert (await person.http.get(ME)).status_code == 200
    assert signed_with(await gateway.sign_in(person.email)) == made["id"]
    [newest, before, *_] = (await admin.http.get(KEYS)).json()["items"]
    assert (newest["id"], before["id"]) == (made["id"], signed_with(person))
    # Every token that it signed has expired before.
    left = datetime.fromisoformat(before["retires_at"]) - datetime.now(UTC)
    assert left > timedelta(seconds=gateway.settings.access_token_seconds)
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("UPDATE signing_keys SET retires_at = now() WHERE id = :id"), {"id": before["id"]})
    assert (await person.http.get(ME)).status_code == 401


async def test_token_is_refused_everywhere_after_a_rotation_at_once_and_refreshing_helps(
    gateway: Any, second: Any, admin: Any, person: Any
) -> None:
    assert [await at(one, person) for one in [gateway, second]] == [200, 200]
    await rotate(admin, at_once=True)
    # The second one has not been told: it looks with each request.
    assert [await at(one, person) for one in [gateway, second]] == [401, 401]
    refreshed = await person.http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    assert refreshed.status_code == 200
    person.http.headers["Authorization"] = f"Bearer {refreshed.json()['access_token']}"
    assert [await at(one, person) for one in [gateway, second]] == [200, 200]


async def test_gateway_that_was_not_told_of_a_rotation_at_once_signs_with_the_new_key(
    gateway: Any, second: Any, admin: Any, person: Any
) -> None:
    await rotate(admin, at_once=True)
    refreshed = await (await second.client()).post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    person.http.headers["Authorization"] = f"Bearer {refreshed.json()['access_token']}"
    assert await at(second, person) == 200
    await rotate(await administrator(gateway), at_once=True)
    # Who signs in asks at once who they are.
    assert (await second.sign_in(person.email)).id == person.id


async def test_token_of_a_gateway_whose_clock_is_ahead_is_accepted(gateway: Any, person: Any) -> None:
    token = person.http.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    async with gateway.db.read() as session:
        [stored] = [key for key in await repository.signing_keys(session, datetime.now(UTC)) if key.id == signed_with(person)]
    secret = Key.derive(stored.id, stored.salt, gateway.settings.jwt_secret.get_secret_value()).secret
    ahead = {name: claims[name] + 20 for name in ("iat", "exp")}
    signed = jwt.encode({**claims, **ahead}, secret, algorithm="HS256", headers={"kid": stored.id})
    person.http.headers["Authorization"] = f"Bearer {signed}"
    assert await at(gateway, person) == 200


async def test_gateways_accept_each_others_tokens_right_after_a_rotation_by_one(
    gateway: Any, second: Any, admin: Any, account: Any
) -> None:
    made = await rotate(admin)
    mine = await gateway.sign_in(account.email)
    assert signed_with(mine) == made["id"]
    # Signed by the second one before it knows of the new key.
    theirs = await second.sign_in(account.email)
    assert [await at(one, person) for one in [gateway, second] for person in [mine, theirs]] == [200] * 4


async def test_keys_are_listed_and_rotated_by_administrators_only_and_no_secret_is_shown(
    gateway: Any, admin: Any, person: Any
) -> None:
    made = await rotate(admin)
    listed = (await admin.http.get(KEYS)).json()
    assert listed["items"][0] == made
    assert all(set(item) == {"id", "created_at", "retires_at"} for item in listed["items"])
    assert (await person.http.get(KEYS)).status_code == 403
    assert (await person.http.post(KEYS, json={})).status_code == 403
    async with gateway.db.read() as session:
        rotated = select(AuditEntry).where(AuditEntry.action == "signing_key.rotated").order_by(AuditEntry.id.desc()).limit(1)
        entry = await session.scalar(rotated)
    assert (entry.actor_id, entry.details) == (admin.id, {"key": made["id"]})


async def test_table_of_keys_alone_signs_nothing(gateway: Any, person: Any) -> None:
    claims = jwt.decode(person.http.headers["Authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    async with gateway.db.read() as session:
        [stored] = [key for key in await repository.signing_keys(session, datetime.now(UTC)) if key.id == signed_with(person)]
    guesses = [stored.salt, stored.salt + stored.id.encode(), Key.derive(stored.id, stored.salt, "another secret").secret]
    http = await gateway.client()
    for guess in guesses:
        forged = jwt.encode(claims, guess, algorithm="HS256", headers={"kid": stored.id})
        assert (await http.get(ME, headers={"Authorization": f"Bearer {forged}"})).status_code == 401
    right = Key.derive(stored.id, stored.salt, gateway.settings.jwt_secret.get_secret_value()).secret
    token = jwt.encode(claims, right, algorithm="HS256", headers={"kid": stored.id})
    assert (await http.get(ME, headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_key_that_somebody_writes_into_the_table_does_not_sign_with_a_secret_of_theirs(gateway: Any, person: Any) -> None:
    salt = secrets.token_bytes(32)
    async with gateway.db.transaction(Cause.new()) as tx:
        tx.session.add(SigningKey(id="planted", salt=salt, created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    tokens = AccessTokens(seconds=60)
    tokens.replace([Key.derive("planted", salt, "a secret that they chose themselves")])
    claims = jwt.decode(person.http.headers["Authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    forged = tokens.issue(Identity(sign_in_id=claims["sid"]))
    answer = await (await gateway.client()).get(ME, headers={"Authorization": f"Bearer {forged}"})
    assert answer.status_code == 401
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM signing_keys WHERE id = 'planted'"))


async def test_gateways_that_start_at_once_make_one_key_and_renew_an_old_one_once(gateway: Any) -> None:
    secret = gateway.settings.jwt_secret.get_secret_value()

    async def keys() -> int:
        async with gateway.db.read() as session:
            return int(await session.scalar(select(func.count()).select_from(SigningKey)))

    async def renew() -> None:
        await renew_signing_key(gateway.db, AccessTokens(seconds=60), secret, older_than=timedelta(days=30))

    before = await keys()
    await renew()
    assert await keys() == before
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("UPDATE signing_keys SET created_at = created_at - interval '31 days'"))
    await asyncio.gather(*(renew() for _ in range(3)))
    assert await keys() == before + 1


async def test_retired_keys_are_swept(gateway: Any, admin: Any) -> None:
    await rotate(admin, at_once=True)
    await sweep_expired(gateway.db)
    async with gateway.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(SigningKey)) == 1

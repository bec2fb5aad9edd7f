"""Signing in at an OpenID provider: a real one, and one that lies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from docutalk_common.db import Cause
from docutalk_common.errors import DependencyUnavailable
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Actor, ActorKind
from docutalk_gateway.adapters.openid_provider import ANSWER_MAX, OpenIdProvider
from docutalk_gateway.domain import OpenIdFault, Role
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.create_invitation import create_invitation
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import ValidationError
from sqlalchemy import text
from starlette.responses import JSONResponse, Response
from structlog.testing import capture_logs

from .openid_providers import (
    CALLBACK,
    CLIENT_ID,
    CLIENT_SECRET,
    PUBLIC_URL,
    START,
    Browser,
    Canaille,
    LyingProvider,
    browsing,
    challenge_of,
    lying_provider,
    running_canaille,
)

ADMIN = ("admin@docutalk.local", "correct horse battery staple")
PASSWORD = "a long enough password"

VERIFIER = "a verifier that only the application knows".replace(" ", "-") + "-0123456789"
APPLICATION = "http://127.0.0.1:48121/signed-in"
TOKEN = "/api/v1/auth/openid/token"


@pytest.fixture(scope="session")
async def canaille() -> AsyncIterator[Canaille]:
    """A real provider."""
    async with running_canaille() as running:
        yield running


@pytest.fixture(scope="module")
async def closed(gateway_with: Any, canaille: Canaille) -> AsyncIterator[Any]:
    """A gateway with the provider. It shares its database with `gateway`, where anybody may register."""
    async with gateway_with(open_registration=False, **canaille.settings) as running:
        yield running


@pytest.fixture(scope="module")
async def liar() -> AsyncIterator[LyingProvider]:
    """A provider that can be told to lie."""
    async with lying_provider() as running:
        yield running


@pytest.fixture
def lying(liar: LyingProvider) -> LyingProvider:
    """The same, told nothing yet."""
    liar.tell_the_truth()
    return liar


@pytest.fixture(scope="module")
async def deceived(gateway_with: Any, liar: LyingProvider) -> AsyncIterator[Any]:
    """A gateway with that one, which lets everybody in whom it knows."""
    async with gateway_with(open_registration=False, openid_register=True, **liar.settings) as running:
        yield running


@pytest.fixture(autouse=True)
async def nobody_asks_too_fast(gateway: Any) -> None:
    """All these people come from one address."""
    await execute(gateway, "DELETE FROM rate_windows")


async def known_person(gateway: Any) -> Any:
    """Somebody whose address an administrator vouched for."""
    person = await gateway.person()
    await execute(gateway, "UPDATE users SET email_vouched = true WHERE id = :id", id=person.id)
    return person


async def sign_in(gateway: Any, login: str = "", url: str = START, **params: str) -> httpx.Response:
    """The whole way of a browser, to its end."""
    async with browsing(gateway.url, login, (APPLICATION,)) as browser:
        return await browser.open(url, **params)


async def code_for(gateway: Any, login: str = "") -> str:
    """What an application gets that somebody returned to."""
    answer = await sign_in(gateway, login, return_to=APPLICATION, code_challenge=challenge_of(VERIFIER))
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{APPLICATION}?code=")
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def redeem(gateway: Any, code: str, verifier: str = VERIFIER) -> httpx.Response:
    """What the application does with it."""
    http = await gateway.client()
    answer: httpx.Response = await http.post(TOKEN, json={"code": code, "code_verifier": verifier})
    return answer


async def who(gateway: Any, answer: httpx.Response) -> dict[str, Any]:
    """Whom the tokens of an answer are for."""
    assert answer.status_code == 200, answer.text
    http = await gateway.client()
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    me: dict[str, Any] = (await http.get("/api/v1/users/me", headers=headers)).raise_for_status().json()
    return me


def refused(answer: httpx.Response, status: int = 403, code: str = "openid_refused") -> str:
    """What a problem says."""
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["type"] == f"urn:docutalk:problem:{code}"
    detail: str = problem["detail"]
    return detail


async def execute(gateway: Any, statement: str, **values: Any) -> None:
    """Changes what is stored, as time or an administrator would."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text(statement), values)


async def rows(gateway: Any, query: str, **values: Any) -> list[Any]:
    """Looks into the database."""
    async with gateway.db.read() as session:
        return [tuple(row) for row in await session.execute(text(query), values)]


@contextlib.asynccontextmanager
async def came_back(gateway: Any, login: str) -> AsyncIterator[tuple[Browser, str]]:
    """A browser that the provider has just sent back, and the address that it is about to open."""
    async with browsing(gateway.url, login, (PUBLIC_URL + CALLBACK,)) as browser:
        answer = await browser.open(START)
        assert answer.is_redirect, answer.text
        yield browser, answer.headers["location"]


# With a real provider --------------------------------------------------------------------------------------------


async def test_person_with_account_signs_in_at_provider_by_verified_address(
    gateway: Any, closed: Any, canaille: Canaille
) -> None:
    person = await known_person(gateway)
    login = await canaille.person(person.email.upper())
    answer = await sign_in(closed, login)
    assert (await who(closed, answer))["id"] == str(person.id)
    assert answer.headers["cache-control"] == "no-store"
    methods = await rows(closed, "SELECT method FROM sign_ins WHERE user_id = :id ORDER BY created_at", id=person.id)
    assert methods == [("password",), ("openid",)]
    noted = await rows(closed, "SELECT action, details FROM audit_log WHERE actor_id = :id ORDER BY id", id=person.id)
    assert ("account.changed", {"openid": "linked"}) in noted
    assert ("sign_in.succeeded", {"method": "openid"}) in noted


async def test_person_is_known_again_when_their_address_changes(gateway: Any, closed: Any, canaille: Canaille) -> None:
    person = await known_person(gateway)
    login = await canaille.person(person.email)
    await sign_in(closed, login)
    await execute(closed, "UPDATE users SET email = :other WHERE id = :id", other=f"{uuid4().hex}@example.com", id=person.id)
    assert (await who(closed, await sign_in(closed, login)))["id"] == str(person.id)


async def test_application_gets_tokens_for_its_code_once(gateway: Any, closed: Any, canaille: Canaille) -> None:
    person = await known_person(gateway)
    code = await code_for(closed, await canaille.person(person.email))
    answer = await redeem(closed, code)
    assert (await who(closed, answer))["id"] == str(person.id)
    refreshed = await (await closed.client()).post("/api/v1/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]})
    assert refreshed.status_code == 200
    assert "not valid" in refused(await redeem(closed, code))


async def test_code_is_worthless_without_its_verifier_and_after_a_wrong_one(
    gateway: Any, closed: Any, canaille: Canaille
) -> None:
    person = await known_person(gateway)
    code = await code_for(closed, await canaille.person(person.email))
    refused(await redeem(closed, code, "another-verifier-of-the-right-length-0123456789"))
    refused(await redeem(closed, code))
    noted = await rows(closed, "SELECT details FROM audit_log WHERE action = 'sign_in.failed' AND target_id = :id", id=person.id)
    assert noted == [({"method": "openid"},)]


async def test_code_expires(gateway: Any, closed: Any, canaille: Canaille) -> None:
    person = await known_person(gateway)
    code = await code_for(closed, await canaille.person(person.email))
    await execute(closed, "UPDATE openid_codes SET expires_at = now() WHERE user_id = :id", id=person.id)
    refused(await redeem(closed, code))


async def test_cookie_is_for_the_callback_alone(gateway_with: Any, canaille: Canaille) -> None:
    public = {**canaille.settings, "public_url": "https://docutalk.test/inside/"}
    async with gateway_with(**public) as running:
        answer = await (await running.client()).get(START)
    assert answer.status_code == 302
    cookie = answer.headers["set-cookie"]
    assert f"; HttpOnly; Max-Age=600; Path=/inside{CALLBACK}; SameSite=lax; Secure" in cookie
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["redirect_uri"] == [f"https://docutalk.test/inside{CALLBACK}"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid email profile"]


async def test_state_works_once(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email)
    async with came_back(closed, login) as (browser, address):
        cookies = httpx.Cookies(browser.http.cookies)
        assert (await browser.http.get(address)).status_code == 200
        assert "docutalk_openid" not in browser.http.cookies
        browser.http.cookies = cookies
        again = await browser.http.get(address)
    assert "was finished before" in refused(again)


async def test_state_expires(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email)
    async with came_back(closed, login) as (browser, address):
        await execute(closed, "UPDATE openid_flows SET expires_at = now()")
        refused(await browser.http.get(address))


async def test_nobody_finishes_their_sign_in_in_another_browser(gateway: Any, closed: Any, canaille: Canaille) -> None:
    attacker, victim = await known_person(gateway), await known_person(gateway)
    async with (
        came_back(closed, await canaille.person(attacker.email)) as (_, address),
        browsing(closed.url) as other,
        came_back(closed, await canaille.person(victim.email)) as (browser, own_address),
    ):
        refused(await other.http.get(address))  # without a cookie
        refused(await browser.http.get(address))  # with that of their own sign-in
        assert (await who(closed, await browser.http.get(own_address)))["id"] == str(victim.id)


async def test_unverified_address_opens_no_account(gateway: Any, closed: Any, canaille: Canaille) -> None:
    person = await known_person(gateway)
    login = await canaille.person(person.email, verified=False)
    assert "verified" in refused(await sign_in(closed, login))
    assert await rows(closed, "SELECT 1 FROM openid_identities WHERE user_id = :id", id=person.id) == []


async def test_address_that_the_provider_gave_to_somebody_new_opens_no_account(
    gateway: Any, closed: Any, canaille: Canaille
) -> None:
    person = await known_person(gateway)
    assert (await sign_in(closed, await canaille.person(person.email))).status_code == 200
    successor = await canaille.person(person.email)
    assert "another person" in refused(await sign_in(closed, successor))


async def test_account_that_nobody_vouched_for_is_linked_only_when_an_administrator_does(
    gateway: Any, closed: Any, canaille: Canaille
) -> None:
    person, admin = await gateway.person(), await closed.sign_in(*ADMIN)
    login = await canaille.person(person.email)
    assert "vouch" in refused(await sign_in(closed, login))
    vouched = await admin.http.patch(f"/api/v1/admin/users/{person.id}", json={"email_vouched": True})
    assert vouched.json()["email_vouched"] is True
    assert (await who(closed, await sign_in(closed, login)))["id"] == str(person.id)


async def test_address_that_somebody_gave_themselves_is_not_vouched_for(gateway: Any, closed: Any, canaille: Canaille) -> None:
    squatter = await known_person(gateway)
    address = f"{uuid4()}@example.com"
    changed = await squatter.http.patch("/api/v1/users/me", json={"email": address, "current_password": PASSWORD})
    assert changed.status_code == 200, changed.text
    assert "vouch" in refused(await sign_in(closed, await canaille.person(address)))


@pytest.mark.parametrize("is_admin", [True, False])
async def test_invitation_vouches_for_its_address_only_when_an_administrator_made_it(
    gateway: Any, closed: Any, canaille: Canaille, is_admin: bool
) -> None:
    """Anybody else could invite an address that is not theirs, and wait in its account for whom it belongs to."""
    inviter, address = await gateway.person(), f"{uuid4()}@example.com"
    await execute(gateway, "UPDATE users SET is_admin = :is_admin WHERE id = :id", is_admin=is_admin, id=inviter.id)
    invitation = await invite(gateway, inviter, inviter.workspace, email=address)
    body = {"email": address, "password": PASSWORD, "invitation": invitation}
    made = await (await closed.client()).post("/api/v1/auth/register", json=body)
    assert made.status_code == 201, made.text
    # Other tests are about the last administrator.
    await execute(gateway, "UPDATE users SET is_admin = false WHERE id = :id", id=inviter.id)
    answer = await sign_in(closed, await canaille.person(address))
    if is_admin:
        assert (await who(closed, answer))["id"] == made.json()["id"]
    else:
        assert "vouch" in refused(answer)


async def test_unknown_person_is_refused(closed: Any, canaille: Canaille) -> None:
    login = await canaille.person()
    assert "invitation" in refused(await sign_in(closed, login))
    assert await rows(closed, "SELECT 1 FROM users WHERE email = :email", email=f"{login}@example.com") == []


async def test_unknown_person_gets_an_account_where_the_provider_decides(gateway_with: Any, canaille: Canaille) -> None:
    login = await canaille.person()
    async with gateway_with(open_registration=False, openid_register=True, **canaille.settings) as running:
        me = await who(running, await sign_in(running, login))
        assert (me["email"], me["display_name"]) == (f"{login}@example.com", "Ada Lovelace")
        assert me["default_workspace_id"] is not None
        assert await rows(running, "SELECT password_hash, is_admin FROM users WHERE id = :id", id=UUID(me["id"])) == [
            (None, False)
        ]
        guess = {"email": me["email"], "password": "whatever it is"}
        assert (await (await running.client()).post("/api/v1/auth/login", json=guess)).status_code == 401
        assert (await who(running, await sign_in(running, login)))["id"] == me["id"]


async def invite(gateway: Any, inviter: Any, workspace: UUID | None = None, **fields: Any) -> str:
    """The token of an invitation."""
    actor = Actor(ActorKind.USER, inviter.id)
    role = Role.EDITOR if workspace else None
    _, token = await create_invitation(
        gateway.db,
        Cause.new(),
        actor,
        invited_by=inviter.id,
        email=fields.get("email"),
        lifetime=timedelta(hours=1),
        workspace_id=workspace,
        role=role,
    )
    return token


async def role_in(gateway: Any, workspace: UUID, user_id: str) -> Role | None:
    """What somebody is there."""
    async with gateway.db.read() as session:
        found = await repository.workspace_of(session, workspace, UUID(user_id))
    return found[1] if found else None


async def test_invited_person_gets_an_account_and_joins(gateway: Any, closed: Any, canaille: Canaille) -> None:
    inviter = await known_person(gateway)
    invitation = await invite(closed, inviter, inviter.workspace)
    me = await who(closed, await sign_in(closed, await canaille.person(), invitation=invitation))
    assert await role_in(closed, inviter.workspace, me["id"]) is Role.EDITOR
    again = await sign_in(closed, await canaille.person(), invitation=invitation)
    refused(again, 404, "not_found")


async def test_invited_person_who_has_an_account_joins(gateway: Any, closed: Any, canaille: Canaille) -> None:
    inviter, invited = await known_person(gateway), await known_person(gateway)
    invitation = await invite(closed, inviter, inviter.workspace, email=invited.email)
    await sign_in(closed, await canaille.person(invited.email), invitation=invitation)
    assert await role_in(closed, inviter.workspace, str(invited.id)) is Role.EDITOR


async def test_invitation_for_another_address_lets_nobody_in(gateway: Any, closed: Any, canaille: Canaille) -> None:
    inviter = await known_person(gateway)
    invitation = await invite(closed, inviter, inviter.workspace, email="somebody.else@example.com")
    login = await canaille.person()
    refused(await sign_in(closed, login, invitation=invitation), 403, "not_allowed")
    assert await rows(closed, "SELECT 1 FROM users WHERE email = :email", email=f"{login}@example.com") == []


async def test_disabled_account_is_refused_at_each_step(gateway: Any, closed: Any, canaille: Canaille) -> None:
    person = await known_person(gateway)
    login = await canaille.person(person.email)
    code = await code_for(closed, login)
    await execute(closed, "UPDATE users SET disabled_at = now() WHERE id = :id", id=person.id)
    refused(await redeem(closed, code))
    assert "disabled" in refused(await sign_in(closed, login))


async def test_person_who_declines_is_told_so(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email, login=f"{uuid4().hex}-declines")
    assert "declined" in refused(await sign_in(closed, login))


async def test_provider_may_change_its_keys(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email)
    assert (await sign_in(closed, login)).status_code == 200
    await canaille.rotate_keys()
    assert (await sign_in(closed, login)).status_code == 200


async def test_sign_in_ends_at_another_gateway_than_it_began(
    gateway: Any, gateway_with: Any, closed: Any, canaille: Canaille
) -> None:
    person = await known_person(gateway)
    login = await canaille.person(person.email)
    async with gateway_with(open_registration=False, **canaille.settings) as other:
        async with came_back(closed, login) as (browser, address), browsing(other.url) as elsewhere:
            elsewhere.http.cookies = browser.http.cookies
            assert (await who(closed, await elsewhere.http.get(address)))["id"] == str(person.id)
        assert (await who(closed, await redeem(other, await code_for(closed, login))))["id"] == str(person.id)


@contextlib.contextmanager
def logged() -> Iterator[Callable[[], str]]:
    """All that this process writes into its log meanwhile; but not what the browser of a test says."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(lambda record: record.name.partition(".")[0] not in {"httpx", "httpcore"})
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with capture_logs() as said:
            yield lambda: written.getvalue() + json.dumps(said, default=str)
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


async def test_nothing_secret_is_logged(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email)
    with logged() as everything:
        code = await code_for(closed, login)
        tokens = (await redeem(closed, code)).json()
        async with came_back(closed, login) as (browser, address):
            await browser.http.get(address)
    assert f'"path": "{CALLBACK}"' in everything()
    assert "/oauth/token" in everything()
    brought = parse_qs(urlsplit(address).query)
    secrets = [
        code,
        VERIFIER,
        CLIENT_SECRET,
        tokens["access_token"],
        tokens["refresh_token"],
        brought["code"][0],
        brought["state"][0],
    ]
    assert [secret for secret in secrets if secret in everything()] == []


# Where people may return to --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def with_origin(gateway_with: Any, canaille: Canaille) -> AsyncIterator[Any]:
    """A gateway that knows the origin of a web application."""
    async with gateway_with(cors_origins="https://app.example.com", **canaille.settings) as running:
        yield running


@pytest.mark.parametrize(
    "return_to",
    [
        "/documents?tab=1",
        "https://app.example.com",
        "https://app.example.com/signed-in?state=x",
        "http://127.0.0.1:1/",
        "http://[::1]:65535/x",
        "http://localhost:3000",
    ],
)
async def test_own_addresses_may_be_returned_to(with_origin: Any, return_to: str) -> None:
    params = {"return_to": return_to, "code_challenge": challenge_of(VERIFIER)}
    answer = await (await with_origin.client()).get(START, params=params)
    assert answer.status_code == 302, answer.text
    assert await rows(with_origin, "SELECT 1 FROM openid_flows WHERE return_to = :it", it=return_to)


@pytest.mark.parametrize(
    "return_to",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "https://app.example.com.evil.example",
        "https://app.example.com@evil.example",
        "https://app.example.com:443@evil.example",
        "https://app.example.com\\@evil.example",
        "https://APP.example.com/x",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/#x",
        "http://127.0.0.1.evil.example:80/",
        "http://127.0.0.1:80@evil.example/",
        "http://127.0.0.1/",
        "https://127.0.0.1:80/",
        "http://[::1",
        "http://docutalk.test/x",
        "javascript:alert(1)",
        "evil",
        "",
        " /x",
        "/x\nSet-Cookie: a=b",
        "/\x00",
        "/ü",
        "/" + "x" * 2000,
    ],
)
async def test_no_other_address_is_returned_to(with_origin: Any, return_to: str) -> None:
    params = {"return_to": return_to, "code_challenge": challenge_of(VERIFIER)}
    answer = await (await with_origin.client()).get(START, params=params)
    assert "return_to" in refused(answer, 422, "invalid")


@pytest.mark.parametrize(
    "params",
    [
        {"return_to": "/x"},
        {"code_challenge": challenge_of(VERIFIER)},
        {"return_to": "/x", "code_challenge": "short"},
        {"return_to": "/x", "code_challenge": challenge_of(VERIFIER) + "="},
        {"return_to": "/x", "code_challenge": ""},
    ],
)
async def test_application_gives_a_challenge_with_its_address(with_origin: Any, params: dict[str, str]) -> None:
    assert "code_challenge" in refused(await (await with_origin.client()).get(START, params=params), 422, "invalid")


async def test_code_is_added_to_what_the_address_asks_already(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email)
    async with browsing(closed.url, login, (f"{PUBLIC_URL}/documents",)) as browser:
        answer = await browser.open(START, return_to="/documents?tab=1", code_challenge=challenge_of(VERIFIER))
    assert answer.headers["location"].startswith("/documents?tab=1&code=")


# With a provider that lies ---------------------------------------------------------------------------------------


def encoded(part: dict[str, Any]) -> str:
    """As it is in a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(_: LyingProvider, claims: dict[str, Any]) -> str:
    """`alg` none."""
    return f"{encoded({'alg': 'none'})}.{encoded(claims)}."


def with_secret(provider: LyingProvider, claims: dict[str, Any], secret: bytes) -> str:
    """`alg` HS256."""
    head = encoded({"alg": "HS256", "kid": provider.key.kid})
    signed = f"{head}.{encoded(claims)}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def signed_with_public_key(provider: LyingProvider, claims: dict[str, Any]) -> str:
    """The public key taken for a secret one."""
    return with_secret(provider, claims, provider.key.as_pem(private=False))


def signed_with_client_secret(provider: LyingProvider, claims: dict[str, Any]) -> str:
    """What only the client and the provider know."""
    return with_secret(provider, claims, CLIENT_SECRET.encode())


def signed_by_another(provider: LyingProvider, claims: dict[str, Any]) -> str:
    """A key of the same name."""
    return jwt.encode({"alg": "RS256", "kid": provider.key.kid}, claims, RSAKey.generate_key(2048))


def changed_after_signing(provider: LyingProvider, claims: dict[str, Any]) -> str:
    """The signature of another token."""
    head, _, signature = provider.signed(claims).split(".")
    return f"{head}.{encoded({**claims, 'sub': 'admin'})}.{signature}"


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        signed_with_public_key,
        signed_with_client_secret,
        signed_by_another,
        changed_after_signing,
        lambda *_: "not a token",
        lambda *_: "",
        lambda *_: "..",
        lambda provider, _: jwt.encode({"alg": "RS256"}, {"sub": ["admin"]}, provider.key),
    ],
    ids=["none", "public key", "client secret", "another key", "changed", "words", "nothing", "dots", "no claims"],
)
async def test_token_that_the_provider_did_not_sign_signs_nobody_in(
    deceived: Any, lying: LyingProvider, sign: Callable[[LyingProvider, dict[str, Any]], str]
) -> None:
    lying.sign = sign
    lying.claims = {"email": f"{uuid4().hex}@example.com", "email_verified": True}
    assert "not valid" in refused(await sign_in(deceived), 502, "openid_fault")
    assert await rows(deceived, "SELECT 1 FROM openid_identities WHERE issuer = :issuer", issuer=lying.issuer) == []


HOUR = 3600


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another client"},
        {"aud": ["another client"], "azp": CLIENT_ID},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"at_hash": "of another token"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "a\x00b"},
        {"exp": None},
        {"iat": None},
        {"exp": "tomorrow"},
    ],
    ids=str,
)
async def test_token_with_a_wrong_claim_signs_nobody_in(deceived: Any, lying: LyingProvider, claims: dict[str, Any]) -> None:
    lying.claims = {"email": f"{uuid4().hex}@example.com", "email_verified": True, **claims}
    refused(await sign_in(deceived), 502, "openid_fault")
    assert await rows(deceived, "SELECT 1 FROM openid_identities WHERE issuer = :issuer", issuer=lying.issuer) == []


@pytest.mark.parametrize(("claim", "late"), [("exp", -HOUR), ("iat", HOUR), ("nbf", HOUR)])
async def test_clocks_that_differ_are_named(deceived: Any, lying: LyingProvider, claim: str, late: int) -> None:
    lying.claims = {claim: datetime.now(UTC).timestamp() + late}
    assert "clock" in refused(await sign_in(deceived), 502, "openid_fault")


@pytest.mark.parametrize(
    ("claims", "user_info"),
    [
        ({}, {"email": "ADDRESS", "email_verified": True}),
        ({"email": "ADDRESS"}, {"email": "ADDRESS", "email_verified": "true"}),
        ({"email": "ADDRESS", "email_verified": True}, {}),
        # What is not verified is overruled by what is.
        ({"email": "other@example.com"}, {"email": "ADDRESS", "email_verified": True}),
    ],
    ids=["user info", "half each", "ID token", "both"],
)
async def test_address_is_where_the_provider_puts_it(
    deceived: Any, lying: LyingProvider, claims: dict[str, Any], user_info: dict[str, Any]
) -> None:
    address = f"{uuid4().hex}@example.com"
    lying.claims, lying.user_info = json.loads(json.dumps([claims, user_info]).replace("ADDRESS", address))
    assert (await who(deceived, await sign_in(deceived)))["email"] == address


@pytest.mark.parametrize("verified", [False, "false", 1, None, "yes", ["true"]])
async def test_address_counts_only_as_verified_when_it_says_so(deceived: Any, lying: LyingProvider, verified: Any) -> None:
    lying.claims = {"email": f"{uuid4().hex}@example.com", "email_verified": verified}
    assert "verified" in refused(await sign_in(deceived))


@pytest.mark.parametrize("email", ["no address", "", 7, "a@b@c", "x" * 300 + "@example.com", "a\x00@example.com"])
async def test_what_is_no_address_counts_as_none(deceived: Any, lying: LyingProvider, email: Any) -> None:
    lying.claims = {"email": email, "email_verified": True}
    assert "verified" in refused(await sign_in(deceived))


@pytest.mark.parametrize("name", ["a\x00b", "", 7, {"a": 1}, "\ud800"])
async def test_what_is_no_name_counts_as_none(deceived: Any, lying: LyingProvider, name: Any) -> None:
    lying.claims = {"email": f"{uuid4().hex}@example.com", "email_verified": True, "name": name}
    assert (await who(deceived, await sign_in(deceived)))["display_name"] is None


async def test_person_who_comes_twice_at_once_gets_one_account(deceived: Any, lying: LyingProvider) -> None:
    lying.claims = {"sub": uuid4().hex, "email": f"{uuid4().hex}@example.com", "email_verified": True}
    answers = await asyncio.gather(*(sign_in(deceived) for _ in range(4)))
    assert len({(await who(deceived, answer))["id"] for answer in answers}) == 1


async def test_user_info_about_somebody_else_is_not_believed(deceived: Any, lying: LyingProvider) -> None:
    lying.claims = {"sub": "mallory"}
    lying.user_info = {"sub": "ada", "email": f"{uuid4().hex}@example.com", "email_verified": True}
    refused(await sign_in(deceived), 502, "openid_fault")


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"token_endpoint": 7},
        {"authorization_endpoint": "https://[::1/authorize"},
        {"userinfo_endpoint": "http://evil.example/"},
    ],
    ids=str,
)
async def test_provider_that_describes_itself_wrongly_is_not_used(lying: LyingProvider, metadata: dict[str, Any]) -> None:
    lying.metadata = metadata
    with pytest.raises(OpenIdFault):
        await client_of(lying).authorization_url(state="s", nonce="n", code_verifier=VERIFIER)


def client_of(provider: LyingProvider, **fields: Any) -> OpenIdProvider:
    """The provider as a gateway sees it that has just started."""
    given: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": None, "scopes": "openid", "redirect_uri": PUBLIC_URL}
    return OpenIdProvider(issuer=provider.issuer, **given, **fields)


BIG = json.dumps({"access_token": "x" * ANSWER_MAX}).encode()


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (JSONResponse({"error": "invalid_grant"}, 400), 403, "openid_refused"),
        (JSONResponse({"error": "invalid_client", "error_description": "client secret x is wrong"}, 401), 502, "openid_fault"),
        (JSONResponse({"error": ["x"]}, 400), 502, "openid_fault"),
        (JSONResponse(["a list"]), 502, "openid_fault"),
        (JSONResponse({"access_token": "x", "token_type": "Bearer"}), 502, "openid_fault"),
        (JSONResponse({"access_token": 1, "id_token": 2, "expires_in": "x"}), 502, "openid_fault"),
        (Response("<html>", media_type="text/html"), 502, "openid_fault"),
        (Response("<html>", 404, media_type="text/html"), 502, "openid_fault"),
        (Response(status_code=302, headers={"Location": "https://evil.example"}), 502, "openid_fault"),
        (Response("[" * 100_000), 502, "openid_fault"),
        (Response(BIG), 502, "openid_fault"),
        (Response(gzip.compress(BIG), headers={"Content-Encoding": "gzip"}), 502, "openid_fault"),
        (Response("<html>", 500), 503, "dependency_unavailable"),
        (Response("slower", 429), 503, "dependency_unavailable"),
    ],
)
async def test_token_endpoint_that_answers_nonsense_is_a_problem(
    deceived: Any, lying: LyingProvider, answer: Response, status: int, code: str
) -> None:
    lying.token_answer = answer
    assert "secret" not in refused(await sign_in(deceived), status, code)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("login_required", 403, "openid_refused"),
        ("temporarily_unavailable", 503, "dependency_unavailable"),
        ("invalid_scope", 502, "openid_fault"),
        ("<script>", 502, "openid_fault"),
    ],
)
async def test_error_of_the_provider_is_a_problem(
    deceived: Any, lying: LyingProvider, error: str, status: int, code: str
) -> None:
    lying.error = error
    assert error not in refused(await sign_in(deceived), status, code)


async def test_secret_goes_where_the_provider_wants_it(gateway_with: Any, lying: LyingProvider) -> None:
    lying.claims = {"email": f"{uuid4().hex}@example.com", "email_verified": True}
    lying.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with gateway_with(openid_register=True, **lying.settings) as running:
        await who(running, await sign_in(running))
    assert lying.auth_methods == ["client_secret_post"]


async def test_answer_of_another_provider_is_refused(deceived: Any) -> None:
    async with browsing(deceived.url, "", (PUBLIC_URL + CALLBACK,)) as browser:
        address = (await browser.open(START)).headers["location"]
        refused(await browser.http.get(address, params={**parse_qs(urlsplit(address).query), "iss": "https://evil.example"}))


async def test_provider_that_is_away_leaves_the_password(gateway: Any, gateway_with: Any) -> None:
    person = await known_person(gateway)
    settings = {**LyingProvider("http://127.0.0.1:9").settings}
    async with gateway_with(**settings) as running:
        answer = await sign_in(running)
        assert "OpenID provider is not available" in refused(answer, 503, "dependency_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await running.sign_in(person.email)).id == person.id


async def test_provider_that_does_not_answer_is_given_up_on(lying: LyingProvider) -> None:
    lying.hangs = True
    with pytest.raises(DependencyUnavailable, match="within"):
        await client_of(lying, seconds=0.2).authorization_url(state="s", nonce="n", code_verifier=VERIFIER)


# Settings and what stays -----------------------------------------------------------------------------------------


async def test_button_is_named_as_the_settings_say(gateway_with: Any, gateway: Any, lying: LyingProvider) -> None:
    async with gateway_with(openid_name="Example Ltd", **lying.settings) as running:
        assert (await (await running.client()).get("/api/v1/auth/options")).json()["openid"] == "Example Ltd"
    assert (await (await gateway.client()).get("/api/v1/auth/options")).json()["openid"] is None


async def test_server_without_a_provider_says_so(gateway: Any) -> None:
    http = await gateway.client()
    for answer in (
        await http.get(START),
        await http.get(CALLBACK, params={"state": "x"}),
        await http.post(TOKEN, json={"code": "x", "code_verifier": VERIFIER}),
    ):
        assert "no OpenID provider" in refused(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"openid_client_id": None}, "DOCUTALK_OPENID_CLIENT_ID"),
        ({"public_url": None}, "DOCUTALK_PUBLIC_URL"),
        ({"public_url": "docutalk.test"}, "DOCUTALK_PUBLIC_URL"),
        ({"openid_issuer": None}, "DOCUTALK_OPENID_ISSUER"),
        ({"openid_issuer": "http://provider.test"}, "DOCUTALK_OPENID_ISSUER"),
        ({"openid_issuer": "http://localhost.evil.example"}, "DOCUTALK_OPENID_ISSUER"),
        ({"openid_issuer": "https://provider.test/?x"}, "DOCUTALK_OPENID_ISSUER"),
        ({"openid_scopes": "email"}, "DOCUTALK_OPENID_SCOPES"),
    ],
    ids=str,
)
def test_half_a_provider_is_refused(settings_for: Callable[..., GatewaySettings], changes: dict[str, Any], name: str) -> None:
    whole = {**LyingProvider("https://provider.test").settings}
    assert settings_for(**whole).openid_name == "OpenID"
    with pytest.raises(ValidationError, match=name) as raised:
        settings_for(**{**whole, **changes})
    assert CLIENT_SECRET not in str(raised.value)


async def test_what_nobody_came_back_for_is_forgotten(gateway: Any, closed: Any, canaille: Canaille) -> None:
    login = await canaille.person((await known_person(gateway)).email)
    await code_for(closed, login)
    await (await closed.client()).get(START)
    for table in ("openid_flows", "openid_codes"):
        await execute(closed, f"UPDATE {table} SET expires_at = now() - interval '1 second'")
    await sweep_expired(closed.db)
    assert await rows(closed, "SELECT 1 FROM openid_flows UNION ALL SELECT 1 FROM openid_codes") == []


async def test_application_is_told_why_nobody_is_signed_in(gateway: Any, closed: Any, canaille: Canaille) -> None:
    answer = await sign_in(closed, await canaille.person(), return_to=APPLICATION, code_challenge=challenge_of(VERIFIER))
    assert answer.status_code == 303
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["error"] == ["openid_refused"]
    assert "invitation" in query["error_description"][0]


async def test_address_of_somebody_new_opens_the_account_when_an_administrator_has_unlinked_it(
    gateway: Any, closed: Any, canaille: Canaille
) -> None:
    person, admin = await known_person(gateway), await closed.sign_in(*ADMIN)
    before = (await sign_in(closed, await canaille.person(person.email))).json()["access_token"]
    successor = await canaille.person(person.email)
    assert "another person" in refused(await sign_in(closed, successor))
    assert (await admin.http.delete(f"/api/v1/admin/users/{person.id}/openid")).status_code == 204
    old = await (await closed.client()).get("/api/v1/users/me", headers={"Authorization": f"Bearer {before}"})
    assert old.status_code == 401
    assert (await who(closed, await sign_in(closed, successor)))["id"] == str(person.id)
    assert (await admin.http.delete(f"/api/v1/admin/users/{uuid4()}/openid")).status_code == 404


async def test_account_without_a_password_is_changed_for_good_only_after_a_sign_in_of_that_moment(
    gateway_with: Any, canaille: Canaille
) -> None:
    login = await canaille.person()
    async with gateway_with(open_registration=False, openid_register=True, **canaille.settings) as running:
        tokens = (await sign_in(running, login)).json()
        http = await running.client()
        http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        await execute(running, "UPDATE sign_ins SET created_at = now() - interval '11 minutes' WHERE method = 'openid'")
        new = {"new_password": "a first password"}
        assert (await http.post("/api/v1/users/me/password", json=new)).status_code == 403
        assert (await http.request("DELETE", "/api/v1/users/me", json={})).status_code == 403
        http.headers["Authorization"] = f"Bearer {(await sign_in(running, login)).json()['access_token']}"
        assert (await http.post("/api/v1/users/me/password", json=new)).status_code == 204

"""OpenID providers to sign in at, a real one and one that can be told to lie, and the browser of somebody who does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import html
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import httpx
from docutalk_common.testing.http_server import serving
from joserfc import jws
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID = "docutalk"
CLIENT_SECRET = "only-for-tests-" * 3
PUBLIC_URL = "http://docutalk.test"
START = "/api/v1/auth/openid"
CALLBACK = "/api/v1/auth/openid/callback"
PASSWORD = "what the provider asks for"


def challenge_of(verifier: str) -> str:
    """As RFC 7636 has it, by `S256`."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


# Browsers --------------------------------------------------------------------------------------------------------


class _Route(httpx.AsyncHTTPTransport):
    """Where the public address leads: to one of the gateways."""

    def __init__(self, gateway_url: str) -> None:
        super().__init__(verify=False)
        self._to = httpx.URL(gateway_url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(scheme="http", host=self._to.host, port=self._to.port)
        return await super().handle_async_request(
            httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions)
        )


@dataclass
class Browser:
    """A person's browser, with its cookies. It goes where it is sent, until it comes to an address of `stop_at`."""

    http: httpx.AsyncClient
    login: str = ""
    stop_at: tuple[str, ...] = ()

    async def open(self, url: str, **params: str) -> httpx.Response:
        """Opens an address on the server's public one, signs in and agrees where it is asked to."""
        response = await self.http.get(httpx.URL(PUBLIC_URL).join(url), params=params or None)
        for _ in range(12):
            if response.is_redirect:
                target = str(response.url.join(response.headers["location"]))
                if target.startswith(self.stop_at or ("nowhere:",)):
                    return response
                response = await self.http.get(target)
            elif "<form" in response.text:
                response = await self.http.post(response.url, data=self._filled(response.text))
            else:
                return response
        raise AssertionError(f"{response.url} does not let {self.login} in")

    def _filled(self, page: str) -> dict[str, str]:
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        fields = {"csrf_token": html.unescape(found.group(1))} if found else {}
        if 'name="login"' in page:
            return {**fields, "login": self.login}
        if 'name="password"' in page:
            return {**fields, "password": PASSWORD}
        return {**fields, "answer": "deny" if self.login.endswith("-declines") else "accept"}


@contextlib.asynccontextmanager
async def browsing(gateway_url: str, login: str = "", stop_at: tuple[str, ...] = ()) -> AsyncIterator[Browser]:
    """A new browser, for which the public address is this gateway."""
    mounts = {urlsplit(PUBLIC_URL)._replace(scheme=scheme).geturl(): _Route(gateway_url) for scheme in ("http", "https")}
    async with httpx.AsyncClient(mounts=mounts, timeout=30, verify=False) as http:
        yield Browser(http, login, stop_at)


# A real provider -------------------------------------------------------------------------------------------------


@dataclass
class Canaille:
    """Canaille in a process of its own, with one client registered."""

    issuer: str
    process: asyncio.subprocess.Process

    @property
    def settings(self) -> dict[str, Any]:
        """The gateway's."""
        return {
            "public_url": PUBLIC_URL,
            "openid_issuer": self.issuer,
            "openid_client_id": CLIENT_ID,
            "openid_client_secret": CLIENT_SECRET,
        }

    async def person(self, email: str | None = None, *, verified: bool = True, login: str | None = None) -> str:
        """Lets somebody sign in there, and returns what as."""
        login = login or uuid4().hex
        title = None if verified else "unverified"
        fields = {
            "user_name": login,
            "formatted_name": "Ada Lovelace",
            "emails": [email or f"{login}@example.com"],
            "title": title,
        }
        await self._tell({"person": {**fields, "password": PASSWORD}})
        return login

    async def rotate_keys(self) -> None:
        """Signs with a new key from now on."""
        await self._tell({"rotate": True})

    async def _tell(self, command: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        assert await self.process.stdout.readline() == b"done\n"


@contextlib.asynccontextmanager
async def running_canaille() -> AsyncIterator[Canaille]:
    """Starts it."""
    script = str(Path(__file__).with_name("canaille_server.py"))
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "client_name": "DocuTalk",
        "redirect_uris": [PUBLIC_URL + CALLBACK],
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, script, json.dumps(client)), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        yield Canaille(f"http://127.0.0.1:{port}/", process)
    finally:
        process.stdin.close()
        await process.wait()


# One that lies ---------------------------------------------------------------------------------------------------


@dataclass
class LyingProvider:
    """Speaks OpenID Connect, lets everybody in as `claims` say, and can be told to get anything wrong."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, auto_kid=True))
    claims: dict[str, Any] = field(default_factory=dict)
    """Of the ID token, besides or instead of the usual ones; None leaves one out."""
    sign: Callable[[LyingProvider, dict[str, Any]], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    user_info: dict[str, Any] = field(default_factory=dict)
    """Besides or instead of the subject."""
    error: str | None = None
    """What it sends people back with."""
    token_answer: Response | None = None
    hangs: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    subject: str = ""
    """Of the last ID token."""
    auth_methods: list[str] = field(default_factory=list)
    """How clients have proven who they are."""

    @property
    def settings(self) -> dict[str, Any]:
        """The gateway's."""
        return {
            "public_url": PUBLIC_URL,
            "openid_issuer": self.issuer,
            "openid_client_id": CLIENT_ID,
            "openid_client_secret": CLIENT_SECRET,
        }

    def tell_the_truth(self) -> None:
        """Does nothing wrong from now on."""
        fresh = LyingProvider(self.issuer, self.key)
        vars(self).update(vars(fresh))

    def signed(self, claims: dict[str, Any]) -> str:
        """An ID token."""
        # Not as `joserfc.jwt` does it, which refuses to sign some of what is to be refused.
        return jws.serialize_compact({"alg": "RS256", "kid": self.key.kid}, json.dumps(claims), self.key)

    @property
    def app(self) -> Starlette:
        """What is served at the issuer."""
        routes = [
            Route("/.well-known/openid-configuration", self._discover),
            Route("/keys", self._keys),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
            Route("/userinfo", self._user_info),
        ]
        return Starlette(routes=routes)

    async def _discover(self, _: Request) -> Response:
        if self.hangs:
            await asyncio.Event().wait()
        usual = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
        }
        return JSONResponse({**usual, **self.metadata})

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["code_challenge_method"] == "S256"
        answer = {"state": asked["state"]}
        if self.error is not None:
            answer["error"] = self.error
        else:
            answer["code"] = uuid4().hex
            self.codes[answer["code"]] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.auth_methods.append("client_secret_basic" if "authorization" in request.headers else "client_secret_post")
        if self.token_answer is not None:
            return self.token_answer
        asked = self.codes.pop(form["code"], None)
        if asked is None or challenge_of(form["code_verifier"]) != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": CLIENT_ID, "sub": uuid4().hex, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in {**usual, **self.claims}.items() if value is not None}
        self.subject = claims.get("sub", "")
        id_token = (self.sign or LyingProvider.signed)(self, claims)
        return JSONResponse({"access_token": "not to be used", "token_type": "Bearer", "id_token": id_token})

    async def _user_info(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer not to be used"
        return JSONResponse({"sub": self.subject, **self.user_info})


@contextlib.asynccontextmanager
async def lying_provider() -> AsyncIterator[LyingProvider]:
    """Serves it."""
    provider = LyingProvider()
    async with serving(provider.app) as url:
        provider.issuer = url
        yield provider

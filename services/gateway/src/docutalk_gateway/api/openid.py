"""Signing in at an OpenID provider (OpenID Connect, authorisation code with PKCE)."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from docutalk_common.errors import NotFound, RequestFailed
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import Field

from docutalk_gateway.adapters.openid_provider import OpenIdProvider
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import SIGNS_TOKENS, Gateway, actor_of, anonymous_cause, gateway_of
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.finish_openid_flow import Returned, finish_openid_flow
from docutalk_gateway.use_cases.redeem_openid_code import redeem_openid_code
from docutalk_gateway.use_cases.sign_in import TokenPair
from docutalk_gateway.use_cases.start_openid_flow import MINUTES, Application, start_openid_flow

router = APIRouter(tags=["identity"])

CALLBACK = "/api/v1/auth/openid/callback"
COOKIE = "docutalk_openid"
# Printable ASCII without a backslash, which browsers take for a slash; and without a fragment, behind which a code would be lost.
_ADDRESS = re.compile(r"[!\"$-\[\]-~]{1,2000}")
# A program on the same machine waits there, at whatever port was free (RFC 8252, section 7.3).
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost):\d{1,5}")
Challenge = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{43}$")]


class OpenIdCode(shapes.Body):
    """What an application came back with, and the verifier of the challenge that it started with."""

    code: Annotated[str, Field(max_length=200)]
    code_verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{43,128}$")]


def _provider(gateway: Gateway) -> OpenIdProvider:
    if gateway.openid is None:
        raise NotFound("This server has no OpenID provider. Sign in with a password.")
    return gateway.openid


def _application(settings: GatewaySettings, return_to: str | None, code_challenge: str | None) -> Application | None:
    if return_to is None and code_challenge is None:
        return None
    if return_to is None or code_challenge is None:
        raise RequestFailed("invalid", "return_to and code_challenge need each other: nobody else may use what comes back.")
    if not _ADDRESS.fullmatch(return_to) or not _may_return(settings, return_to):
        raise RequestFailed(
            "invalid",
            "return_to is a path on this server, an address at an origin of CORS_ORIGINS, or http://127.0.0.1 with a port.",
        )
    return Application(return_to, code_challenge)


def _may_return(settings: GatewaySettings, return_to: str) -> bool:
    if return_to.startswith("/"):
        return not return_to.startswith("//")
    try:
        parts = urlsplit(return_to)
    except ValueError:
        return False
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin in settings.cors_origin_list or _LOOPBACK.fullmatch(origin) is not None


def _tokens(pair: TokenPair) -> shapes.Tokens:
    return shapes.Tokens.model_validate(pair, from_attributes=True)


@router.get("/auth/openid", status_code=302, response_class=RedirectResponse)
async def start_openid(
    request: Request,
    return_to: str | None = None,
    code_challenge: Challenge | None = None,
    invitation: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Sends a browser to the provider. An application gives `return_to`, where it gets a code, and a `code_challenge` of its own
    (RFC 7636, S256); without them the browser ends at the tokens. `invitation` is the token of one."""
    gateway = gateway_of(request)
    provider = _provider(gateway)
    application = _application(gateway.settings, return_to, code_challenge)
    started = await start_openid_flow(
        gateway.db, provider, anonymous_cause(request), application=application, invitation=invitation
    )
    response = RedirectResponse(started.url, 302)
    address = urlsplit(provider.redirect_uri)
    response.set_cookie(
        COOKIE,
        started.browser,
        max_age=MINUTES * 60,
        path=address.path,
        secure=address.scheme == "https",
        httponly=True,
        # Not strict: the provider sends the browser back.
        samesite="lax",
    )
    return response


@router.get(
    "/auth/openid/callback",
    response_model=shapes.Tokens,
    responses={303: {"description": "Back to the application, with a code for `POST /auth/openid/token`"}},
    dependencies=SIGNS_TOKENS,
)
async def finish_openid(
    request: Request,
    state: Annotated[str, Query(max_length=200)],
    code: Annotated[str | None, Query(max_length=8000)] = None,
    error: Annotated[str | None, Query(max_length=100)] = None,
    iss: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Where the provider sends the browser back to. Gives a pair of tokens, or goes on to the application with a code."""
    gateway = gateway_of(request)
    provider = _provider(gateway)
    outcome = await finish_openid_flow(
        gateway.db,
        provider,
        gateway.tokens,
        anonymous_cause(request),
        actor_of(request),
        returned=Returned(state, request.cookies.get(COOKIE), code, error, iss),
        provider_registers=gateway.settings.openid_register,
        lifetime=gateway.refresh_lifetime,
    )
    response = RedirectResponse(outcome, 303) if isinstance(outcome, str) else JSONResponse(_tokens(outcome).model_dump())
    response.delete_cookie(COOKIE, path=urlsplit(provider.redirect_uri).path)
    return response


@router.post("/auth/openid/token", dependencies=SIGNS_TOKENS)
async def exchange_openid(request: Request, body: OpenIdCode) -> shapes.Tokens:
    """A pair of tokens for the code that an application came back with. It works once, for a minute."""
    gateway = gateway_of(request)
    _provider(gateway)
    pair = await redeem_openid_code(
        gateway.db,
        gateway.tokens,
        anonymous_cause(request),
        actor_of(request),
        code=body.code,
        code_verifier=body.code_verifier,
        lifetime=gateway.refresh_lifetime,
    )
    return _tokens(pair)

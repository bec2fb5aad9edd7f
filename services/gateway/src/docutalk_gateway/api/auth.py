"""Register, sign in, refresh, sign out, and who am I."""

from __future__ import annotations

from typing import Annotated

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from docutalk_gateway.adapters import repository
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import SignedIn, actor_of, anonymous_cause, gateway_of
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute
from docutalk_gateway.domain import RegistrationClosed, WrongCredentials
from docutalk_gateway.use_cases.refresh_session import refresh_session
from docutalk_gateway.use_cases.register_user import register_user
from docutalk_gateway.use_cases.sign_in import TokenPair, sign_in
from docutalk_gateway.use_cases.sign_out import sign_out

router = APIRouter(tags=["identity"], route_class=IdempotentRoute)
# A sign-in makes a token, but a stored answer to replay would be a stored token: no keys here.
sessions = APIRouter(tags=["identity"])


@router.post("/auth/register", status_code=201, openapi_extra={"parameters": [HEADER_PARAMETER]})
async def register(request: Request, body: shapes.Registration) -> shapes.User:
    """Makes an account with a workspace of its own, when registration is open."""
    gateway = gateway_of(request)
    if not gateway.settings.open_registration:
        raise RegistrationClosed
    user = await register_user(
        gateway.db,
        gateway.passwords,
        anonymous_cause(request),
        email=body.email,
        password=body.password.get_secret_value(),
        display_name=body.display_name,
    )
    return shapes.User.of(user)


async def _sign_in(request: Request, email: str, password: str) -> shapes.Tokens:
    gateway = gateway_of(request)
    # Nobody has such an address or password; those of a form have not been looked at yet.
    if not (shapes.is_text(email) and shapes.is_text(password)):
        raise WrongCredentials
    pair = await sign_in(
        gateway.db,
        gateway.passwords,
        gateway.tokens,
        anonymous_cause(request),
        actor_of(request),
        email=email,
        password=password,
        lifetime=gateway.refresh_lifetime,
    )
    return _tokens(pair)


def _tokens(pair: TokenPair) -> shapes.Tokens:
    return shapes.Tokens(access_token=pair.access_token, refresh_token=pair.refresh_token, expires_in=pair.expires_in)


@sessions.post("/auth/login")
async def login(request: Request, body: shapes.Credentials) -> shapes.Tokens:
    """A pair of tokens for an e-mail address and a password."""
    return await _sign_in(request, body.email, body.password.get_secret_value())


@sessions.post("/auth/token")
async def token(request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> shapes.Tokens:
    """The same as an OAuth2 password form, which "Authorize" in the API docs sends."""
    return await _sign_in(request, form.username, form.password)


@sessions.post("/auth/refresh")
async def refresh(request: Request, body: shapes.RefreshRequest) -> shapes.Tokens:
    """A new pair for a refresh token, which is used up. Using one twice ends the whole sign-in."""
    gateway = gateway_of(request)
    pair = await refresh_session(
        gateway.db,
        gateway.tokens,
        anonymous_cause(request),
        actor_of(request),
        refresh_token=body.refresh_token,
        lifetime=gateway.refresh_lifetime,
    )
    return _tokens(pair)


@sessions.post("/auth/logout", status_code=204, response_class=Response)
async def logout(request: Request, body: shapes.RefreshRequest) -> None:
    """Ends the sign-in that this refresh token belongs to, with its access token."""
    await sign_out(gateway_of(request).db, anonymous_cause(request), actor_of(request), refresh_token=body.refresh_token)


@sessions.get("/users/me")
async def me(caller: SignedIn) -> shapes.User:
    """Who is signed in."""
    async with caller.gateway.db.read() as session:
        user = await repository.user_by_id(session, caller.user_id)
    if user is None:
        raise NotFound("This account does not exist any more.")
    return shapes.User.of(user)

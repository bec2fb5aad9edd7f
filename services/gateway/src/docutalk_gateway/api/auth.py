"""Register, sign in, refresh, sign out, set a forgotten password anew."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from docutalk_gateway.adapters import account_repository
from docutalk_gateway.api import account_shapes, shapes
from docutalk_gateway.api.context import SIGNS_TOKENS, actor_of, anonymous_cause, gateway_of
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute
from docutalk_gateway.domain import EMAIL_MAX, PASSWORD_MAX, WrongCredentials, is_text
from docutalk_gateway.use_cases.refresh_session import refresh_session
from docutalk_gateway.use_cases.register_user import register_user
from docutalk_gateway.use_cases.reset_password import reset_password as set_password_anew
from docutalk_gateway.use_cases.sign_in import TokenPair, sign_in
from docutalk_gateway.use_cases.sign_out import sign_out

router = APIRouter(tags=["identity"], route_class=IdempotentRoute)
# A sign-in makes a token, but a stored answer to replay would be a stored token: no keys here.
sessions = APIRouter(tags=["identity"])


@router.post("/auth/register", status_code=201, openapi_extra={"parameters": [HEADER_PARAMETER]})
async def register(request: Request, body: shapes.Registration) -> shapes.User:
    """Makes an account with a workspace of its own: for everybody where registration is open, else for whoever has an invitation.
    The first one of an installation becomes its administrator."""
    gateway = gateway_of(request)
    async with gateway.attempt_slots:
        user = await register_user(
            gateway.db,
            gateway.passwords,
            anonymous_cause(request),
            actor_of(request),
            limits=gateway.attempt_limits,
            email=body.email,
            password=body.password.get_secret_value(),
            display_name=body.display_name,
            is_open=gateway.settings.open_registration,
            invitation=body.invitation,
        )
    return shapes.User.of(user)


async def _sign_in(request: Request, email: str, password: str) -> shapes.Tokens:
    gateway = gateway_of(request)
    # Nobody has such an address or password; those of a form have not been looked at yet.
    if not (is_text(email) and is_text(password) and len(email) <= EMAIL_MAX and len(password) <= PASSWORD_MAX):
        raise WrongCredentials
    async with gateway.attempt_slots:
        pair = await sign_in(
            gateway.db,
            gateway.passwords,
            gateway.tokens,
            anonymous_cause(request),
            actor_of(request),
            limits=gateway.attempt_limits,
            email=email,
            password=password,
            lifetime=gateway.refresh_lifetime,
        )
    return _tokens(pair)


def _tokens(pair: TokenPair) -> shapes.Tokens:
    return shapes.Tokens(access_token=pair.access_token, refresh_token=pair.refresh_token, expires_in=pair.expires_in)


@sessions.post("/auth/login", dependencies=SIGNS_TOKENS)
async def login(request: Request, body: shapes.Credentials) -> shapes.Tokens:
    """A pair of tokens for an e-mail address and a password."""
    return await _sign_in(request, body.email, body.password.get_secret_value())


@sessions.post("/auth/token", dependencies=SIGNS_TOKENS)
async def token(request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> shapes.Tokens:
    """The same as an OAuth2 password form, which "Authorize" in the API docs sends."""
    return await _sign_in(request, form.username, form.password)


@sessions.post("/auth/refresh", dependencies=SIGNS_TOKENS)
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


@sessions.post("/auth/reset", status_code=204, response_class=Response)
async def reset_password(request: Request, body: account_shapes.ResetWith) -> None:
    """Sets a password with the token that an administrator has made, which is used up. Ends every sign-in of the account."""
    gateway = gateway_of(request)
    async with gateway.attempt_slots:
        await set_password_anew(
            gateway.db,
            gateway.passwords,
            anonymous_cause(request),
            actor_of(request),
            limits=gateway.attempt_limits,
            token=body.token,
            new_password=body.new_password.get_secret_value(),
        )


@sessions.get("/auth/options")
async def get_sign_in_options(request: Request) -> account_shapes.SignInOptions:
    """The ways in that this server has."""
    gateway = gateway_of(request)
    state = account_shapes.RegistrationState
    async with gateway.db.read() as session:
        is_empty = not await account_repository.any_account(session)
    registration = state.FIRST if is_empty else state.OPEN if gateway.settings.open_registration else state.CLOSED
    openid = gateway.settings.openid_name if gateway.settings.openid_issuer else None
    return account_shapes.SignInOptions(registration=registration, password=True, openid=openid)

"""What every route works with, made once by the application and handed to the routes; and who is asking."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.storage import ObjectStorage
from fastapi import Depends, Query, Request
from fastapi.security import OAuth2PasswordBearer

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import KEY_PREFIX, AccessTokens
from docutalk_gateway.api.edge import correlation_of
from docutalk_gateway.domain import NotAllowed, NotSignedIn, Role
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.sign_in import Client
from docutalk_gateway.use_cases.use_api_key import use_api_key

CALLER = "docutalk.caller"
"""Where what is no route finds the `Caller` in a request's scope."""
# An upload holds about two parts of 8 MiB; more at once wait for their turn.
UPLOADS_AT_ONCE = 12
# Questions that are being posted, not those that are being answered: of hundreds at the same moment each would else wait for all
# others, until none is in time.
QUESTIONS_AT_ONCE = 32


@dataclass
class Gateway:
    """The gateway's parts. `closing` is set when the process is about to stop, so that event streams can end well."""

    settings: GatewaySettings
    db: Database
    storage: ObjectStorage
    broker: MessageBroker
    passwords: Passwords
    tokens: AccessTokens
    checks: Mapping[str, Callable[[], Awaitable[None]]]
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    upload_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE))
    question_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(QUESTIONS_AT_ONCE))
    stopping: set[asyncio.Task[None]] = field(default_factory=set)
    """What is done about requests whose clients went away."""

    @property
    def refresh_lifetime(self) -> timedelta:
        """How long a refresh token is valid."""
        return timedelta(days=self.settings.refresh_token_days)

    def fingerprint(self, *parts: bytes) -> bytes:
        """A keyed hash of a request. Keyed, because bodies hold passwords and a plain hash of one could be guessed."""
        mac = hmac.new(self.settings.jwt_secret.get_secret_value().encode(), digestmod=hashlib.sha256)
        for part in parts:
            mac.update(len(part).to_bytes(8, "big") + part)
        return mac.digest()


def gateway_of(request: Request) -> Gateway:
    """The parts of the application that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def client_of(request: Request) -> Client:
    """From where a request comes."""
    agent = request.headers.get("user-agent")
    return Client(agent[:500] if agent else None, request.client.host if request.client else None)


def anonymous_cause(request: Request) -> Cause:
    """The cause of what a request without a sign-in does."""
    return Cause(correlation_of(request))


_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False)


@dataclass(frozen=True)
class Caller:
    """A signed-in person's request."""

    gateway: Gateway
    user_id: UUID
    cause: Cause
    by_key: bool
    """Whether a program asks for them, with an API key, which may do less than a password."""


async def signed_in(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Caller:
    """Who is asking, with an access token or an API key. Raises `NotSignedIn`."""
    gateway = gateway_of(request)
    if token is None:
        raise NotSignedIn("This needs an access token or an API key. Sign in first.")
    by_key = token.startswith(KEY_PREFIX)
    user_id = await use_api_key(gateway.db, anonymous_cause(request), token) if by_key else gateway.tokens.read(token).user_id
    return Caller(gateway, user_id, Cause(correlation_of(request), actor=str(user_id)), by_key)


async def caller_of(request: Request) -> Caller:
    """The same for what is no route. Raises `NotSignedIn`."""
    return await signed_in(request, await _bearer(request))


async def in_person(caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
    """Somebody who signed in with a password: a key that got lost must not make others, nor rule the installation."""
    if caller.by_key:
        raise NotAllowed("Sign in with a password for this; an API key may not.")
    return caller


@dataclass(frozen=True)
class Access(Caller):
    """A member's request in one workspace. Only `access_of` makes one: no route or tool asks for membership itself."""

    workspace_id: UUID
    role: Role


async def access_of(caller: Caller, workspace_id: UUID) -> Access:
    """Any member's. Raises `NotFound` for everybody else: who is no member does not learn that there is such a workspace."""
    async with caller.gateway.db.read() as session:
        role = await repository.role_of(session, workspace_id, caller.user_id)
    if role is None:
        raise NotFound("There is no such workspace.")
    return Access(caller.gateway, caller.user_id, caller.cause, caller.by_key, workspace_id, role)


async def reader(workspace_id: UUID, caller: Annotated[Caller, Depends(signed_in)]) -> Access:
    """Any member; see `access_of`."""
    return await access_of(caller, workspace_id)


async def writer(access: Annotated[Access, Depends(reader)]) -> Access:
    """An owner or editor. Raises `NotAllowed` for a viewer."""
    if not access.role.can_write:
        raise NotAllowed("A viewer may read and ask in this workspace, but not change it.")
    return access


async def owner(access: Annotated[Access, Depends(reader)]) -> Access:
    """An owner."""
    if access.role is not Role.OWNER:
        raise NotAllowed("Only an owner of this workspace may do this.")
    return access


async def administrator(caller: Annotated[Caller, Depends(in_person)]) -> Caller:
    """An administrator of the installation."""
    async with caller.gateway.db.read() as session:
        user = await repository.user_by_id(session, caller.user_id)
    if user is None or not user.is_admin:
        raise NotAllowed("Only an administrator may do this.")
    return caller


@dataclass(frozen=True)
class Paging:
    """A page of a list, from 1."""

    page: int
    per_page: int

    @property
    def offset(self) -> int:
        """How many items come before."""
        return (self.page - 1) * self.per_page


def paging(
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Paging:
    """`page` and `per_page` of a list."""
    return Paging(page, per_page)


SignedIn = Annotated[Caller, Depends(signed_in)]
InPerson = Annotated[Caller, Depends(in_person)]
Reader = Annotated[Access, Depends(reader)]
Writer = Annotated[Access, Depends(writer)]
Owner = Annotated[Access, Depends(owner)]
Administrator = Annotated[Caller, Depends(administrator)]
Page = Annotated[Paging, Depends(paging)]

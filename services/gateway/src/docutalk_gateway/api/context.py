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
from docutalk_gateway.adapters.tokens import AccessTokens, Identity
from docutalk_gateway.api.edge import correlation_of
from docutalk_gateway.domain import NotAllowed, NotSignedIn, Role
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.sign_in import Client

# An upload holds about two parts of 8 MiB; more at once wait for their turn.
UPLOADS_AT_ONCE = 12


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
    identity: Identity
    cause: Cause

    @property
    def user_id(self) -> UUID:
        """Who."""
        return self.identity.user_id


def signed_in(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Caller:
    """Who is asking. Raises `NotSignedIn`."""
    gateway = gateway_of(request)
    if token is None:
        raise NotSignedIn("This needs an access token. Sign in first.")
    identity = gateway.tokens.read(token)
    return Caller(gateway, identity, Cause(correlation_of(request), actor=str(identity.user_id)))


@dataclass(frozen=True)
class Access(Caller):
    """A member's request in one workspace. Only `reader`, `writer` and `owner` make one: no route asks for membership itself."""

    workspace_id: UUID
    role: Role


async def reader(workspace_id: UUID, caller: Annotated[Caller, Depends(signed_in)]) -> Access:
    """Any member. Raises `NotFound` for everybody else: who is no member does not learn that there is such a workspace."""
    async with caller.gateway.db.read() as session:
        role = await repository.role_of(session, workspace_id, caller.user_id)
    if role is None:
        raise NotFound("There is no such workspace.")
    return Access(caller.gateway, caller.identity, caller.cause, workspace_id, role)


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


async def administrator(caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
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
Reader = Annotated[Access, Depends(reader)]
Writer = Annotated[Access, Depends(writer)]
Owner = Annotated[Access, Depends(owner)]
Administrator = Annotated[Caller, Depends(administrator)]
Page = Annotated[Paging, Depends(paging)]

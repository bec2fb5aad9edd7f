"""What every route works with, made once by the application and handed to the routes; and who is asking."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.ingest import Document, GetDocument
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.storage import ObjectStorage
from fastapi import Depends, Query, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Actor, ActorKind
from docutalk_gateway.adapters.models import Workspace
from docutalk_gateway.adapters.openid_provider import OpenIdProvider
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.rate_limits import network_of
from docutalk_gateway.adapters.tokens import KEY_PREFIX, AccessTokens
from docutalk_gateway.api.edge import correlation_of
from docutalk_gateway.api.permissions import RULES, Rule, Who, rank
from docutalk_gateway.domain import NotAllowed, NotSignedIn, Role, ShareTarget, WorkspaceArchived
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.check_access import still_enters
from docutalk_gateway.use_cases.identify_caller import Credentials, Grant, identify_caller, note_key_used
from docutalk_gateway.use_cases.keep_signing_keys import load_signing_keys
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits
from docutalk_gateway.use_cases.limit_requests import RequestLimits
from docutalk_gateway.use_cases.log_visit import visit_logged

CALLER = "docutalk.caller"
"""Where what is no route finds the `Caller` in a request's scope."""
_ADMITTED = "docutalk.admitted"
# An upload holds about two parts of 8 MiB; more at once wait for their turn.
UPLOADS_AT_ONCE = 12
# Pieces of archives that are made at the same time: each takes one of the process's few threads.
EXPORTS_AT_ONCE = 4
# Questions that are being posted, not those that are being answered: of hundreds at the same moment each would else wait for all
# others, until none is in time.
QUESTIONS_AT_ONCE = 32
# As many as are hashed at once: an attempt counts as failed until it has succeeded, and of many people who sign in at the same
# moment from one address those who wait must not be counted.
ATTEMPTS_AT_ONCE = 2


@dataclass
class Gateway:
    """The gateway's parts. `closing` is set when the process is about to stop, so that event streams can end well."""

    settings: GatewaySettings
    db: Database
    storage: ObjectStorage
    broker: MessageBroker
    passwords: Passwords
    tokens: AccessTokens
    request_limits: RequestLimits
    checks: Mapping[str, Callable[[], Awaitable[None]]]
    openid: OpenIdProvider | None = None
    """Where people may sign in, too."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    upload_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE))
    question_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(QUESTIONS_AT_ONCE))
    attempt_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ATTEMPTS_AT_ONCE))
    export_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EXPORTS_AT_ONCE))
    import_posted: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: set[asyncio.Task[None]] = field(default_factory=set)
    """What is done about requests whose clients went away."""

    @property
    def refresh_lifetime(self) -> timedelta:
        """How long a refresh token is valid."""
        return timedelta(days=self.settings.refresh_token_days)

    @property
    def attempt_limits(self) -> AttemptLimits:
        """How often somebody may fail to prove who they are."""
        return AttemptLimits(
            self.secret,
            per_account_and_address=self.settings.login_failures,
            per_account=self.settings.login_failures_per_account,
            per_address=self.settings.login_failures_per_address,
        )

    @property
    def secret(self) -> str:
        """What the processes of an installation know and nobody else."""
        return self.settings.jwt_secret.get_secret_value()

    def fingerprint(self, *parts: bytes) -> bytes:
        """A keyed hash of a request. Keyed, because bodies hold passwords and a plain hash of one could be guessed."""
        mac = hmac.new(self.secret.encode(), digestmod=hashlib.sha256)
        for part in parts:
            mac.update(len(part).to_bytes(8, "big") + part)
        return mac.digest()


def gateway_of(request: Request) -> Gateway:
    """The parts of the application that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def actor_of(request: Request) -> Actor:
    """From where a request comes, of whom nothing else is known (yet)."""
    agent = request.headers.get("user-agent")
    return Actor(address=request.client.host if request.client else None, user_agent=agent[:500] if agent else None)


def anonymous_cause(request: Request) -> Cause:
    """The cause of what a request without a sign-in does."""
    return Cause(correlation_of(request))


_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False)
Token = Annotated[str | None, Depends(_bearer)]


@dataclass(frozen=True)
class Caller:
    """The request of a person, of a program with their key, or of a visitor who opened a share link."""

    gateway: Gateway
    credentials: Credentials
    cause: Cause
    actor: Actor

    @property
    def user_id(self) -> UUID:
        """Whose documents and conversations are meant: the person's; a visit's own id."""
        return self.credentials.user_id


@dataclass(frozen=True)
class Access(Caller):
    """A request in one workspace. Only `access_of` makes one: no route or tool asks for membership itself."""

    workspace_id: UUID
    role: Role

    @property
    def grant(self) -> Grant | None:
        """What a visitor may see; None for members."""
        return self.credentials.grant

    @property
    def user_id(self) -> UUID:
        """As above; a link to a conversation shows that of whoever made the link."""
        grant = self.grant
        if grant is not None and grant.target is ShareTarget.SESSION:
            return grant.shared_by
        return self.credentials.user_id

    async def is_still_let_in(self) -> bool:
        """Asked again by what stays open. Raises `DependencyUnavailable`."""
        async with self.gateway.db.read() as session:
            return await still_enters(session, self.credentials, self.workspace_id)

    def narrowed(self, filters: SearchFilters) -> SearchFilters:
        """The filters of a search or a question, within what is shared with the caller, who learns nothing of the rest."""
        grant = self.grant
        if grant is None or grant.target is ShareTarget.WORKSPACE:
            return filters
        if grant.target is ShareTarget.DOCUMENT:
            ids = _within(filters.document_ids, grant.target_id)
            return filters.model_copy(update={"document_ids": ids, "isolated": True})
        if grant.target is ShareTarget.SOURCE:
            ids = _within(filters.source_ids, grant.target_id)
            return filters.model_copy(update={"source_ids": ids, "isolated": True})
        raise NotAllowed("This link does not let you search.")


def _within(wanted: Sequence[UUID], shared: UUID) -> list[UUID]:
    # The nil id is nothing's: an empty list would mean everything.
    return [shared if not wanted or shared in wanted else UUID(int=0)]


async def _identified(gateway: Gateway, session: AsyncSession, token: str | None) -> Credentials:
    if token is None:
        raise NotSignedIn("This needs an access token or an API key. Sign in first.")
    return await identify_caller(session, gateway.tokens, token)


async def _caller(request: Request, credentials: Credentials) -> Caller:
    gateway = gateway_of(request)
    client = actor_of(request)
    kind = ActorKind.VISITOR if credentials.grant else ActorKind.KEY if credentials.key_id else ActorKind.USER
    actor = Actor(kind, credentials.user_id, client.address, client.user_agent)
    cause = Cause(correlation_of(request), actor=str(credentials.user_id))
    if credentials.key_id is not None and credentials.key_unnoted:
        await note_key_used(gateway.db, cause, credentials.key_id)
    return Caller(gateway, credentials, cause, actor)


async def _read_keys(gateway: Gateway, token: str | None) -> None:
    """Another gateway may have begun to sign with a new key a moment ago."""
    if token is not None and not token.startswith(KEY_PREFIX) and not gateway.tokens.knows(token):
        await load_signing_keys(gateway.db, gateway.tokens, gateway.secret)


async def newest_key(request: Request) -> None:
    """For routes that sign tokens: what another gateway retired a moment ago signs none here that would be refused at once."""
    gateway = gateway_of(request)
    await load_signing_keys(gateway.db, gateway.tokens, gateway.secret)


SIGNS_TOKENS = [Depends(newest_key)]


async def caller_of(request: Request) -> Caller:
    """Who asks, for what is no route; what they may do is looked up by `permit` and `access_of`. Raises `NotSignedIn`."""
    token = await _bearer(request)
    gateway = gateway_of(request)
    await _read_keys(gateway, token)
    async with gateway.db.read() as session:
        credentials = await _identified(gateway, session, token)
    caller = await _caller(request, credentials)
    await admit(request, caller)
    async with _visit_logged(caller, request):
        if credentials.grant is not None:
            raise NotAllowed("The link that you opened does not let you do this.")
    return caller


def rule_of(request: Request) -> Rule:
    """The line of the table for the route of a request."""
    return RULES[request.scope["route"].name]


def permit(credentials: Credentials, rule: Rule) -> None:
    """What does not depend on a workspace. Raises `NotAllowed`."""
    if credentials.grant is not None and (rule.shared is None or rule.shared.permission not in credentials.grant.permissions):
        raise NotAllowed("The link that you opened does not let you do this.")
    if credentials.scopes is not None:
        if rule.scope is None:
            raise NotAllowed("Sign in with a password for this; an API key may not.")
        if rule.scope not in credentials.scopes:
            raise NotAllowed(f"This API key has not the scope {rule.scope.value!r}, which this needs. Make one that has.")
    if rule.who is Who.ADMINISTRATOR and not credentials.is_admin:
        raise NotAllowed("Only an administrator may do this.")


async def signed_in(request: Request, token: Token) -> Caller:
    """Whoever may call this route, as its line in the table says. Raises `NotSignedIn` and `NotAllowed`."""
    gateway, rule = gateway_of(request), rule_of(request)
    await _read_keys(gateway, token)
    async with gateway.db.read() as session:
        credentials = await _identified(gateway, session, token)
    caller = await _caller(request, credentials)
    await admit(request, caller)
    async with _visit_logged(caller, request):
        permit(credentials, rule)
    return caller


async def member(request: Request, workspace_id: UUID, token: Token) -> Access:
    """Whoever may call this route in this workspace, as its line in the table says. Raises `NotSignedIn`, `NotAllowed`,
    `NotFound` for everybody who is not let see the workspace, and `WorkspaceArchived`."""
    gateway, rule = gateway_of(request), rule_of(request)
    await _read_keys(gateway, token)
    async with gateway.db.read() as session:
        credentials = await _identified(gateway, session, token)
        found = await _workspace_of(session, credentials, workspace_id)
    caller = await _caller(request, credentials)
    await admit(request, caller)
    async with _visit_logged(caller, request):
        access = _entered(caller, workspace_id, found, rule)
        if access.grant is not None:
            await enter_shared(access, access.grant, rule, request)
    return access


def _visit_logged(caller: Caller, request: Request) -> contextlib.AbstractAsyncContextManager[None]:
    return visit_logged(
        caller.gateway.db,
        caller.cause,
        caller.actor,
        caller.credentials,
        operation=request.scope["route"].name,
        document_id=_uuid(request.path_params.get("document_id")),
    )


async def access_of(caller: Caller, workspace_id: UUID, rule: Rule) -> Access:
    """The same for a caller who names the workspace otherwise than in the path, which no visitor is."""
    async with caller.gateway.db.read() as session:
        found = await _workspace_of(session, caller.credentials, workspace_id)
    return _entered(caller, workspace_id, found, rule)


async def _workspace_of(session: AsyncSession, credentials: Credentials, workspace_id: UUID) -> tuple[Workspace, Role] | None:
    grant = credentials.grant
    if grant is None:
        return await repository.workspace_of(session, workspace_id, credentials.user_id)
    workspace = await repository.workspace_by_id(session, workspace_id) if workspace_id == grant.workspace_id else None
    return (workspace, Role.VIEWER) if workspace is not None else None


def _entered(caller: Caller, workspace_id: UUID, found: tuple[Workspace, Role] | None, rule: Rule) -> Access:
    if found is None:
        # Who is no member does not learn that there is such a workspace.
        raise NotFound("There is no such workspace.")
    workspace, role = found
    permit(caller.credentials, rule)
    if rule.who.is_member and rank(role) < rule.who:
        if rule.who is Who.OWNER:
            raise NotAllowed("Only an owner of this workspace may do this.")
        raise NotAllowed("A viewer may read and ask in this workspace, but not change it.")
    if rule.changes and workspace.archived_at is not None:
        raise WorkspaceArchived
    return Access(caller.gateway, caller.credentials, caller.cause, caller.actor, workspace_id, role)


async def enter_shared(access: Access, grant: Grant, rule: Rule, request: Request) -> None:
    """Keeps a visitor to what the link leads to. Raises `NotFound` for everything else, as if there were nothing else."""
    assert rule.shared is not None
    if grant.target not in rule.shared.targets:
        raise NotAllowed("The link that you opened does not let you do this.")
    path = request.path_params
    if grant.target is ShareTarget.SESSION and path.get("session_id") != str(grant.target_id):
        raise NotFound("There is no such conversation.")
    if "document_id" in path and not await _is_shared(access, grant, _uuid(path["document_id"])):
        raise NotFound("There is no such document.")


def _uuid(value: str | None) -> UUID | None:
    try:
        return UUID(value) if value is not None else None
    except ValueError:
        return None


async def _is_shared(access: Access, grant: Grant, document_id: UUID | None) -> bool:
    if document_id is None:
        return False  # what cannot be read here is not let through to who may read it otherwise
    if grant.target is ShareTarget.DOCUMENT:
        return document_id == grant.target_id
    if grant.target is ShareTarget.SOURCE:
        question = GetDocument(workspace_id=access.workspace_id, document_id=document_id)
        document = await access.gateway.broker.requests.ask("rpc.ingest.v1.document.get", question, Document, cause=access.cause)
        return document.source_id == grant.target_id
    return grant.target is ShareTarget.WORKSPACE


async def admit(request: Request, caller: Caller) -> None:
    """Counts the request of somebody who has signed in, once however often it is asked who they are. Raises `TooManyRequests`."""
    if _ADMITTED in request.scope:
        return
    request.scope[_ADMITTED] = True
    settings, limits = caller.gateway.settings, caller.gateway.request_limits
    if caller.credentials.grant is not None:
        await limits.admit(f"requests:visit:{caller.credentials.user_id}", settings.visit_requests_per_minute)
    else:
        await limits.admit(f"requests:user:{caller.credentials.user_id}", settings.requests_per_minute)


async def admit_nobody(request: Request) -> None:
    """Counts a request for which nobody has to sign in, by its address and once. Raises `TooManyRequests`."""
    if rule_of(request).who is not Who.ANYBODY or _ADMITTED in request.scope:
        return
    request.scope[_ADMITTED] = True
    gateway = gateway_of(request)
    network = network_of(actor_of(request).address)
    await gateway.request_limits.admit(f"requests:address:{network}", gateway.settings.anonymous_requests_per_minute)


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
Member = Annotated[Access, Depends(member)]
Page = Annotated[Paging, Depends(paging)]

"""Who comes with an access token or an API key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.db import Cause, Database
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import repository, share_repository
from docutalk_gateway.adapters.tokens import KEY_PREFIX, AccessTokens, hash_token
from docutalk_gateway.domain import NotSignedIn, Scope, SharePermission, ShareTarget

# A write for each request would be the most there is to do for many of them.
NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Grant:
    """What a share link grants its visitors."""

    share_id: UUID
    workspace_id: UUID
    target: ShareTarget
    target_id: UUID
    permissions: frozenset[SharePermission]
    shared_by: UUID


@dataclass(frozen=True)
class Credentials:
    """Who it is. `scopes` is None for a person; `grant` is that of a visitor, whose `user_id` is the visit's id."""

    user_id: UUID
    is_admin: bool = False
    sign_in_id: UUID | None = None
    key_id: UUID | None = None
    scopes: frozenset[Scope] | None = None
    grant: Grant | None = None
    key_unnoted: bool = False
    """Whether it is time to note that the key was used."""


async def identify_caller(session: AsyncSession, tokens: AccessTokens, token: str) -> Credentials:
    """Raises `NotSignedIn` for a token or key that is not valid (any more), and when its sign-in, account or link has ended."""
    if token.startswith(KEY_PREFIX):
        return await _by_key(session, token)
    identity = tokens.read(token)
    if identity.visit_id is not None:
        if not await repository.accepts_key(session, identity.key_id):
            raise NotSignedIn("The access token is not valid any more. Open the link again.")
        return await _by_visit(session, identity.visit_id)
    assert identity.sign_in_id is not None
    user = await repository.signed_in_user(session, identity.sign_in_id, signed_with=identity.key_id)
    if user is None:
        raise NotSignedIn("This sign-in has ended. Sign in again.")
    return Credentials(user.id, is_admin=user.is_admin, sign_in_id=identity.sign_in_id)


async def _by_key(session: AsyncSession, key: str) -> Credentials:
    found = await repository.api_key_by_hash(session, hash_token(key))
    if found is None or found[1].disabled_at is not None:
        raise NotSignedIn("This API key is not valid, or it was deleted. Make a new one.")
    stored, user = found
    now = datetime.now(UTC)
    if stored.expires_at is not None and stored.expires_at <= now:
        raise NotSignedIn(f"This API key expired on {stored.expires_at:%Y-%m-%d at %H:%M} UTC. Make a new one.")
    return Credentials(
        user.id,
        key_id=stored.id,
        scopes=frozenset(Scope(scope) for scope in stored.scopes),
        key_unnoted=stored.last_used_at is None or stored.last_used_at < now - NOTED_EVERY,
    )


async def _by_visit(session: AsyncSession, visit_id: UUID) -> Credentials:
    share = await share_repository.share_of_visit(session, visit_id, datetime.now(UTC))
    if share is None:
        raise NotSignedIn("What was shared here is not shared any more. Open the link again, or ask for a new one.")
    grant = Grant(
        share_id=share.id,
        workspace_id=share.workspace_id,
        target=ShareTarget(share.target),
        target_id=share.target_id,
        permissions=frozenset(SharePermission(permission) for permission in share.permissions),
        shared_by=share.created_by,
    )
    return Credentials(visit_id, grant=grant)


async def note_key_used(db: Database, cause: Cause, key_id: UUID) -> None:
    """Notes that a key was used, once a minute whoever notes it."""
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        await repository.mark_key_used(tx.session, key_id, now, unless_since=now - NOTED_EVERY)

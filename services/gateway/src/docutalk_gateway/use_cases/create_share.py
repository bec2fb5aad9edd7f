"""A link with which others see what is shared, without an account."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import account_repository, member_repository, share_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Share
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import hash_token, new_token
from docutalk_gateway.domain import NotAllowed, Role, SharePermission, ShareTarget, WorkspaceArchived

HINT_LENGTH = 8


@dataclass(frozen=True)
class NewShare:
    """What is shared, how far, and for how long. The target is there: `name_share_target` says so."""

    target: ShareTarget
    target_id: UUID
    permissions: Collection[SharePermission]
    name: str | None = None
    expires_at: datetime | None = None
    max_uses: int | None = None
    password: str | None = None


async def create_share(
    db: Database, passwords: Passwords, cause: Cause, actor: Actor, *, workspace_id: UUID, user_id: UUID, wanted: NewShare
) -> tuple[Share, str]:
    """What is stored, and the link's token, which cannot be had again. Raises `RequestFailed("invalid")` for one that would have
    expired already; `NotFound`, `NotAllowed` and `WorkspaceArchived` when whoever makes it may not any more."""
    check_expiry(wanted.expires_at)
    token = new_token()
    share = Share(
        id=uuid7(),
        workspace_id=workspace_id,
        name=wanted.name,
        target=wanted.target.value,
        target_id=wanted.target_id,
        permissions=as_stored(wanted.permissions),
        token_hash=hash_token(token),
        hint=token[:HINT_LENGTH],
        password_hash=await passwords.hash(wanted.password) if wanted.password is not None else None,
        max_uses=wanted.max_uses,
        created_by=user_id,
        expires_at=wanted.expires_at,
    )
    async with db.transaction(cause) as tx:
        await _expect_sharer(tx.session, workspace_id, user_id)
        await share_repository.add_share(tx.session, share)
        note(
            tx.session,
            Action.SHARED,
            actor,
            workspace_id=workspace_id,
            target_id=share.id,
            target=share.target,
            permissions=" ".join(share.permissions),
            has_password=share.password_hash is not None,
        )
    return share, token


async def _expect_sharer(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> None:
    """Whoever takes somebody's right away ends the links that they made: one that is being made then is among them, or is not
    made."""
    user = await account_repository.lock_account(session, user_id)
    workspace = await member_repository.lock_workspace(session, workspace_id)
    found = await member_repository.member_of(session, workspace_id, user_id)
    if user is None or user.disabled_at is not None or workspace is None or found is None:
        raise NotFound("There is no such workspace.")
    if not Role(found[0].role).can_write:
        raise NotAllowed("A viewer may read and ask in this workspace, but not change it.")
    if workspace.archived_at is not None:
        raise WorkspaceArchived


def check_expiry(expires_at: datetime | None) -> None:
    """Raises `RequestFailed("invalid")` for a moment that has passed."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise RequestFailed("invalid", "expires_at has passed already. Give a time to come, or leave it out.")


def as_stored(permissions: Collection[SharePermission]) -> list[str]:
    """Each once, in the order in which they are always told."""
    return [permission.value for permission in SharePermission if permission in permissions]

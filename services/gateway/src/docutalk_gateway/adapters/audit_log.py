"""The audit log: written in the transaction of what it tells of, and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import cast
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import AuditEntry, Member, User


class Action(StrEnum):
    """What is audited: sign-ins, what lets somebody in, what leaves, and what goes."""

    REGISTERED = "account.registered"
    SIGNED_IN = "sign_in.succeeded"
    SIGN_IN_FAILED = "sign_in.failed"
    SIGN_IN_THROTTLED = "sign_in.throttled"
    SIGNED_OUT = "sign_in.ended"
    TOKEN_REUSED = "sign_in.token_reused"  # noqa: S105
    PASSWORD_CHANGED = "password.changed"  # noqa: S105
    PASSWORD_RESET_MADE = "password.reset_made"  # noqa: S105
    USER_CHANGED = "account.changed"
    USER_DELETED = "account.deleted"
    KEY_CREATED = "api_key.created"
    KEY_DELETED = "api_key.deleted"
    SIGNING_KEY_ROTATED = "signing_key.rotated"
    INVITED = "invitation.created"
    INVITATION_ACCEPTED = "invitation.accepted"
    INVITATION_WITHDRAWN = "invitation.withdrawn"
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"
    OWNER_CHANGED = "workspace.transferred"
    WORKSPACE_CREATED = "workspace.created"
    WORKSPACE_ARCHIVED = "workspace.archived"
    WORKSPACE_RESTORED = "workspace.restored"
    WORKSPACE_DELETED = "workspace.deleted"
    QUOTA_CHANGED = "workspace.quota_changed"
    EXPORTED = "workspace.exported"
    IMPORTED = "workspace.imported"
    SHARED = "share.created"
    SHARE_CHANGED = "share.changed"
    SHARE_REVOKED = "share.revoked"
    SHARE_OPENED = "share.opened"
    SHARE_REFUSED = "share.refused"
    ERASED = "erasure.completed"


class ActorKind(StrEnum):
    """Who did it."""

    USER = "user"
    KEY = "key"
    VISITOR = "visitor"
    NOBODY = "nobody"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """Who did something, and from where. `id` is the user's, also when a key acts for them, or the visit's."""

    kind: ActorKind = ActorKind.NOBODY
    id: UUID | None = None
    address: str | None = None
    user_agent: str | None = None


SYSTEM = Actor(ActorKind.SYSTEM)


def note(
    session: AsyncSession,
    action: Action,
    actor: Actor,
    *,
    workspace_id: UUID | None = None,
    target_id: UUID | None = None,
    **details: str | int | bool | None,
) -> None:
    """Adds an entry. `details` are for people; no texts of documents, no addresses of e-mail, nothing secret."""
    session.add(
        AuditEntry(
            id=uuid7(),
            action=action.value,
            actor=actor.kind.value,
            actor_id=actor.id,
            workspace_id=workspace_id,
            target_id=target_id,
            address=actor.address,
            user_agent=actor.user_agent,
            details=details,
        )
    )


@dataclass(frozen=True)
class EntryFilter:
    """Which entries are asked for; None: whatever it is. `since` is the first moment, `until` the first one after."""

    action: Action | None = None
    actor_id: UUID | None = None
    workspace_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """In SQL."""
        given = {
            AuditEntry.action: self.action.value if self.action else None,
            AuditEntry.actor_id: self.actor_id,
            AuditEntry.workspace_id: self.workspace_id,
        }
        found = [column == value for column, value in given.items() if value is not None]
        if self.since is not None:
            found.append(AuditEntry.at >= self.since)
        if self.until is not None:
            found.append(AuditEntry.at < self.until)
        return found


async def entries(
    session: AsyncSession, wanted: EntryFilter, *, members_only: bool, offset: int, limit: int
) -> tuple[Sequence[tuple[AuditEntry, str | None]], int]:
    """A page of entries, newest first, each with the name of who did it, and how many there are. With `members_only` those who
    are no members of the entry's workspace (any more) have no name."""
    known: ColumnElement[bool] = User.id == AuditEntry.actor_id
    if members_only:
        member = select(Member.user_id).where(Member.workspace_id == AuditEntry.workspace_id)
        known = and_(known, User.id.in_(member))
    conditions = wanted.conditions()
    query = (
        select(AuditEntry, func.coalesce(User.display_name, User.email))
        .outerjoin(User, known)
        .where(*conditions)
        .order_by(AuditEntry.id.desc())
        .offset(offset)
        .limit(limit)
    )
    found = [(entry, name) for entry, name in await session.execute(query)]
    total = await session.scalar(select(func.count()).select_from(AuditEntry).where(*conditions))
    return found, cast("int", total)


async def delete_entries(session: AsyncSession, before: datetime) -> None:
    """Entries are kept for a time."""
    await session.execute(delete(AuditEntry).where(AuditEntry.at < before))

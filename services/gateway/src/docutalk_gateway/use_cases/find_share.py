"""The share link that a token is of, while it leads somewhere; and what is noted when it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import share_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Share, ShareAccess
from docutalk_gateway.adapters.rate_limits import take
from docutalk_gateway.adapters.tokens import hash_token

# A program that tries a dead link for ever must not fill the log of those who made it.
REFUSALS_PER_HOUR = 60
HOUR_SECONDS = 3600


class State(StrEnum):
    """Whether a link leads somewhere, and if not, why."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    USED_UP = "used_up"


def state_of(share: Share, now: datetime) -> State:
    """What it is at this moment. Visits outlast a link that is used up, and no other end."""
    if share.revoked_at is not None:
        return State.REVOKED
    if share.expires_at is not None and share.expires_at <= now:
        return State.EXPIRED
    if share.max_uses is not None and share.uses >= share.max_uses:
        return State.USED_UP
    return State.ACTIVE


def gone() -> NotFound:
    """The same for what never was and for what has ended: who tries tokens learns nothing."""
    return NotFound("There is no such link, or it has ended. Ask whoever gave it to you for a new one.")


async def find_share(db: Database, cause: Cause, actor: Actor, token: str) -> Share:
    """Raises `NotFound`, having noted that the link was tried if there is one."""
    async with db.read() as session:
        share = await share_repository.share_by_hash(session, hash_token(token))
    if share is None:
        raise gone()
    state = state_of(share, datetime.now(UTC))
    if state is not State.ACTIVE:
        await note_refused(db, cause, actor, share, state.value)
        raise gone()
    return share


async def note_refused(db: Database, cause: Cause, actor: Actor, share: Share, reason: str) -> None:
    """In the link's log and in the audit log; of many in an hour the first ones."""
    async with db.transaction(cause) as tx:
        full = await take(tx.session, f"share:refused:{share.id}", most=REFUSALS_PER_HOUR, seconds=HOUR_SECONDS)
        if full is not None:
            return
        add_access(tx.session, actor, share.id, "refused", reason=reason)
        note(tx.session, Action.SHARE_REFUSED, actor, workspace_id=share.workspace_id, target_id=share.id, reason=reason)


def add_access(
    session: AsyncSession,
    actor: Actor,
    share_id: UUID,
    action: str,
    *,
    visit_id: UUID | None = None,
    document_id: UUID | None = None,
    reason: str | None = None,
) -> None:
    """Adds an entry to the link's log."""
    session.add(
        ShareAccess(
            id=uuid7(),
            share_id=share_id,
            visit_id=visit_id,
            action=action,
            document_id=document_id,
            reason=reason,
            address=actor.address,
            user_agent=actor.user_agent,
        )
    )

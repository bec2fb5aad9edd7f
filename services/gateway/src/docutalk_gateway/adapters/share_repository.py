"""Every query about share links, their visits and their logs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, and_, any_, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Share, ShareAccess, ShareVisit
from docutalk_gateway.adapters.row_counts import changed

ASKING = ("post_chat", "regenerate_answer")
"""The operations that begin a conversation."""


def _holds(now: datetime) -> ColumnElement[bool]:
    return and_(Share.revoked_at.is_(None), or_(Share.expires_at.is_(None), Share.expires_at > now))


async def add_share(session: AsyncSession, share: Share) -> None:
    """Stores a link, with what the database fills in."""
    session.add(share)
    await session.flush()
    await session.refresh(share)


async def share_by_hash(session: AsyncSession, token_hash: bytes) -> Share | None:
    """The link with this token, also one that has ended."""
    return cast("Share | None", await session.scalar(select(Share).where(Share.token_hash == token_hash)))


async def share_of(session: AsyncSession, workspace_id: UUID, share_id: UUID) -> Share | None:
    """A link of this workspace."""
    return cast(
        "Share | None", await session.scalar(select(Share).where(Share.workspace_id == workspace_id, Share.id == share_id))
    )


async def lock_share(session: AsyncSession, workspace_id: UUID, share_id: UUID) -> Share | None:
    """The same, and nobody else changes or opens it until the end of the transaction."""
    which = select(Share).where(Share.workspace_id == workspace_id, Share.id == share_id)
    # Of this strength it lets the log be written meanwhile, whose entries refer to the link.
    return cast("Share | None", await session.scalar(which.with_for_update(key_share=True)))


async def shares_of(session: AsyncSession, workspace_id: UUID, *, offset: int, limit: int) -> tuple[list[Share], int]:
    """A page of a workspace's links, newest first, also those that have ended, and how many there are."""
    ours = Share.workspace_id == workspace_id
    rows = await session.scalars(select(Share).where(ours).order_by(Share.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(Share).where(ours))
    return list(rows), total or 0


async def take_use(session: AsyncSession, share: Share, now: datetime) -> Share | None:
    """Counts one use, never more than `max_uses`, also when many come at once. None when the link has ended, is used up, or has
    another password than when `share` was read. Returns the link as it stands now."""
    return cast(
        "Share | None",
        await session.scalar(
            update(Share)
            .where(
                Share.id == share.id,
                _holds(now),
                or_(Share.max_uses.is_(None), Share.uses < Share.max_uses),
                Share.password_hash.is_not_distinct_from(share.password_hash),
            )
            .values(uses=Share.uses + 1)
            .returning(Share)
            .execution_options(populate_existing=True)
        ),
    )


async def share_of_visit(session: AsyncSession, visit_id: UUID, now: datetime) -> Share | None:
    """The link that was opened; None when the visit or the link has ended."""
    return cast(
        "Share | None",
        await session.scalar(
            select(Share)
            .join(ShareVisit, ShareVisit.share_id == Share.id)
            .where(ShareVisit.id == visit_id, ShareVisit.expires_at > now, _holds(now))
        ),
    )


async def hold_share(session: AsyncSession, share_id: UUID) -> bool:
    """Whether there is this link; if so it is there until the end of the transaction."""
    which = select(Share.id).where(Share.id == share_id).with_for_update(read=True, key_share=True)
    return await session.scalar(which) is not None


async def end_visits(session: AsyncSession, share_id: UUID, now: datetime) -> None:
    """Ends every visit of a link."""
    which = (ShareVisit.share_id == share_id, ShareVisit.expires_at > now)
    await session.execute(update(ShareVisit).where(*which).values(expires_at=now).execution_options(synchronize_session=False))


async def accesses_of(session: AsyncSession, share_id: UUID, *, offset: int, limit: int) -> tuple[list[ShareAccess], int]:
    """A page of a link's log, newest first, and how many entries there are."""
    its = ShareAccess.share_id == share_id
    rows = await session.scalars(select(ShareAccess).where(its).order_by(ShareAccess.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(ShareAccess).where(its))
    return list(rows), total or 0


async def delete_ended_visits(session: AsyncSession, now: datetime) -> list[UUID]:
    """Forgets visits that are over; what was done in them stays in the log. Those in which something was asked."""
    ended = await session.scalars(delete(ShareVisit).where(ShareVisit.expires_at < now).returning(ShareVisit.id))
    return await _that_asked(session, ended.all())


async def delete_visits_of(session: AsyncSession, user_id: UUID) -> list[UUID]:
    """Forgets the visits of all links that this person made. Those in which something was asked."""
    theirs = select(Share.id).where(Share.created_by == user_id)
    ended = await session.scalars(delete(ShareVisit).where(ShareVisit.share_id.in_(theirs)).returning(ShareVisit.id))
    return await _that_asked(session, ended.all())


async def _that_asked(session: AsyncSession, visit_ids: Sequence[UUID]) -> list[UUID]:
    # One parameter, however many visits there are: a statement takes some thirty thousand.
    theirs = ShareAccess.visit_id == any_(literal(list(visit_ids), ARRAY(Uuid)))
    asked = select(ShareAccess.visit_id).where(theirs, ShareAccess.action.in_(ASKING)).distinct()
    return [visit_id for visit_id in await session.scalars(asked) if visit_id is not None]


async def delete_old_accesses(session: AsyncSession, before: datetime) -> int:
    """Forgets what was logged before `before`."""
    return changed(await session.execute(delete(ShareAccess).where(ShareAccess.at < before)))

"""Every query that changes who is a member of a workspace, and as what.

Whoever locks several rows locks users first and then workspaces: so nobody waits in a circle.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Member, Share, User, Workspace
from docutalk_gateway.domain import Role


async def lock_workspace(session: AsyncSession, workspace_id: UUID) -> Workspace | None:
    """The workspace as it is now. Until the end of the transaction nobody else changes it or the roles of its members; documents
    and questions come in meanwhile."""
    return cast(
        "Workspace | None",
        await session.scalar(
            select(Workspace)
            .where(Workspace.id == workspace_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        ),
    )


async def member_of(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> tuple[Member, User] | None:
    """A member as they are now."""
    row = (
        await session.execute(
            select(Member, User)
            .join(User, User.id == Member.user_id)
            .where(Member.workspace_id == workspace_id, Member.user_id == user_id)
            .execution_options(populate_existing=True)
        )
    ).first()
    return (row[0], row[1]) if row is not None else None


async def has_other_owner(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> bool:
    """Whether somebody else owns it, too, who can sign in. `lock_workspace` first."""
    others = exists().where(
        Member.workspace_id == workspace_id,
        Member.user_id != user_id,
        Member.role == Role.OWNER.value,
        User.id == Member.user_id,
        User.disabled_at.is_(None),
    )
    return bool(await session.scalar(select(others)))


async def has_members(session: AsyncSession, workspace_id: UUID) -> bool:
    """False for one that is being imported: nobody sees it yet."""
    return bool(await session.scalar(select(exists().where(Member.workspace_id == workspace_id))))


async def set_role(session: AsyncSession, workspace_id: UUID, user_id: UUID, role: Role) -> None:
    """Gives a member another role."""
    which = (Member.workspace_id == workspace_id, Member.user_id == user_id)
    await session.execute(update(Member).where(*which).values(role=role.value).execution_options(synchronize_session=False))


async def remove_member(session: AsyncSession, workspace_id: UUID, user_id: UUID, now: datetime) -> None:
    """Ends a membership, and the links that they made: with one of those they would come in again."""
    await session.execute(delete(Member).where(Member.workspace_id == workspace_id, Member.user_id == user_id))
    await revoke_links(session, user_id, now, workspace_id=workspace_id)
    await choose_other_default(session, workspace_id, only=user_id)


async def revoke_links(session: AsyncSession, user_id: UUID, now: datetime, *, workspace_id: UUID | None = None) -> None:
    """Ends the share links that this person made, in all workspaces or in one: a link leads nowhere that its maker may not let
    others go."""
    which = [Share.created_by == user_id, Share.revoked_at.is_(None)]
    if workspace_id is not None:
        which.append(Share.workspace_id == workspace_id)
    await session.execute(update(Share).where(*which).values(revoked_at=now).execution_options(synchronize_session=False))


async def choose_other_default(session: AsyncSession, workspace_id: UUID, *, only: UUID | None = None) -> None:
    """Whoever has this one as default gets their oldest other workspace instead, or none; `only` one of them."""
    oldest = (
        select(Member.workspace_id)
        .where(Member.user_id == User.id, Member.workspace_id != workspace_id)
        .order_by(Member.workspace_id)
        .limit(1)
        .correlate(User)
        .scalar_subquery()
    )
    which = [User.default_workspace_id == workspace_id]
    if only is not None:
        which.append(User.id == only)
    await session.execute(
        update(User).where(*which).values(default_workspace_id=oldest).execution_options(synchronize_session=False)
    )


async def set_first_default(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> None:
    """Whoever has no default workspace has this one."""
    await session.execute(
        update(User)
        .where(User.id == user_id, User.default_workspace_id.is_(None))
        .values(default_workspace_id=workspace_id)
        .execution_options(synchronize_session=False)
    )

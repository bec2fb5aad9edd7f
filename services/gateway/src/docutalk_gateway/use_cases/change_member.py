"""Another role for a member."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import member_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Member, User
from docutalk_gateway.domain import Conflict, Role


async def change_member(
    db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID, user_id: UUID, role: Role
) -> tuple[Member, User]:
    """Sets the role of a member; who becomes a viewer leaves no share links behind. Raises `NotFound`, and `Conflict` for the
    last owner."""
    async with db.transaction(cause) as tx:
        await member_repository.lock_workspace(tx.session, workspace_id)
        member, user = await known_member(tx.session, workspace_id, user_id)
        before = Role(member.role)
        if before is role:
            return member, user
        if before is Role.OWNER:
            await keep_an_owner(tx.session, workspace_id, user_id)
        member.role = role.value
        if not role.can_write:
            await member_repository.revoke_links(tx.session, user_id, datetime.now(UTC), workspace_id=workspace_id)
        note(
            tx.session,
            Action.MEMBER_CHANGED,
            actor,
            workspace_id=workspace_id,
            target_id=user_id,
            role=role.value,
            before=before.value,
        )
        return member, user


async def known_member(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> tuple[Member, User]:
    """A member. Raises `NotFound`."""
    found = await member_repository.member_of(session, workspace_id, user_id)
    if found is None:
        raise NotFound("This workspace has no such member.")
    return found


async def keep_an_owner(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> None:
    """Raises `Conflict` when nobody else owns the workspace, which must be locked."""
    if not await member_repository.has_other_owner(session, workspace_id, user_id):
        raise Conflict(
            "A workspace needs an owner who can sign in, and this one has no other. Transfer the ownership first, or delete it."
        )

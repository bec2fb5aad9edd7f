"""The end of a membership."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import account_repository, member_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.domain import Role
from docutalk_gateway.use_cases.change_member import keep_an_owner, known_member


async def remove_member(db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID, user_id: UUID) -> None:
    """Somebody is no member any more, by somebody else or by themselves, and the share links that they made end. Raises
    `NotFound`, and `Conflict` for the last owner."""
    async with db.transaction(cause) as tx:
        await account_repository.lock_account(tx.session, user_id)
        await member_repository.lock_workspace(tx.session, workspace_id)
        member, _ = await known_member(tx.session, workspace_id, user_id)
        if Role(member.role) is Role.OWNER:
            await keep_an_owner(tx.session, workspace_id, user_id)
        await member_repository.remove_member(tx.session, workspace_id, user_id, datetime.now(UTC))
        note(tx.session, Action.MEMBER_REMOVED, actor, workspace_id=workspace_id, target_id=user_id, left=actor.id == user_id)

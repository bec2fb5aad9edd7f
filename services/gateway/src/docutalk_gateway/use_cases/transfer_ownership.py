"""A workspace gets another owner."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import member_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Workspace
from docutalk_gateway.domain import Conflict, NotAllowed, Role
from docutalk_gateway.use_cases.change_member import known_member


async def transfer_ownership(
    db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID, owner_id: UUID, user_id: UUID
) -> Workspace:
    """`user_id`, a member, becomes an owner, and `owner_id` an editor. Raises `NotFound`, `Conflict`, and `NotAllowed` when
    `owner_id` is no owner any more."""
    if user_id == owner_id:
        raise Conflict("You own this workspace already. Name another member.")
    async with db.transaction(cause) as tx:
        workspace = await member_repository.lock_workspace(tx.session, workspace_id)
        owner, _ = await known_member(tx.session, workspace_id, owner_id)
        if Role(owner.role) is not Role.OWNER:
            raise NotAllowed("Only an owner of this workspace may do this.")
        _, user = await known_member(tx.session, workspace_id, user_id)
        if user.disabled_at is not None:
            raise Conflict("The account of this member is disabled. Name another one.")
        assert workspace is not None, "it has members"
        await member_repository.set_role(tx.session, workspace_id, user_id, Role.OWNER)
        await member_repository.set_role(tx.session, workspace_id, owner_id, Role.EDITOR)
        note(tx.session, Action.OWNER_CHANGED, actor, workspace_id=workspace_id, target_id=user_id)
        return workspace

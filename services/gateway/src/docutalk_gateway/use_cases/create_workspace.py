"""A new workspace with its owner."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import member_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Workspace
from docutalk_gateway.domain import Role


async def create_workspace(
    db: Database, cause: Cause, actor: Actor, *, owner_id: UUID, name: str, description: str | None, system_prompt: str | None
) -> Workspace:
    """Makes a workspace that `owner_id` owns; their default one, if they have no other."""
    async with db.transaction(cause) as tx:
        workspace = Workspace(id=uuid7(), name=name, description=description, system_prompt=system_prompt)
        tx.session.add(workspace)
        await tx.session.flush()
        await tx.session.refresh(workspace)
        await repository.add_member(tx.session, workspace.id, owner_id, Role.OWNER)
        await member_repository.set_first_default(tx.session, workspace.id, owner_id)
        note(tx.session, Action.WORKSPACE_CREATED, actor, workspace_id=workspace.id)
        return workspace

"""An invitation lets nobody in any more."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import account_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note


async def withdraw_invitation(
    db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID | None, invitation_id: UUID
) -> None:
    """Without a workspace: one that makes an account and nothing else. Raises `NotFound`, also for one that was accepted."""
    async with db.transaction(cause) as tx:
        if not await account_repository.delete_invitation(tx.session, workspace_id, invitation_id):
            raise NotFound("There is no such invitation, or it was accepted already.")
        note(tx.session, Action.INVITATION_WITHDRAWN, actor, workspace_id=workspace_id, target_id=invitation_id)

"""A workspace rests: it can be looked at and searched, and nothing in it changes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import member_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Workspace


async def set_archived(db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID, archived: bool) -> Workspace:
    """Archives it, or takes it up again. What is so already stays as it is. Raises `NotFound`."""
    async with db.transaction(cause) as tx:
        workspace = await member_repository.lock_workspace(tx.session, workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        if (workspace.archived_at is not None) != archived:
            now = datetime.now(UTC)
            workspace.archived_at = now if archived else None
            workspace.updated_at = now
            action = Action.WORKSPACE_ARCHIVED if archived else Action.WORKSPACE_RESTORED
            note(tx.session, action, actor, workspace_id=workspace_id)
        return workspace

"""Limits of a workspace's own."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import member_repository, quota_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.quota_repository import WorkspaceAccount


async def change_quota(
    db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID, changes: Mapping[str, int | None]
) -> WorkspaceAccount:
    """Sets `max_documents`, `max_bytes` or `max_questions_per_day`; None: as the settings say. What is there stays, however much
    it is. Raises `NotFound`."""
    async with db.transaction(cause) as tx:
        workspace = await member_repository.lock_workspace(tx.session, workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        for name, limit in changes.items():
            setattr(workspace, name, limit)
        if changes:
            note(
                tx.session,
                Action.QUOTA_CHANGED,
                actor,
                workspace_id=workspace_id,
                max_documents=workspace.max_documents,
                max_bytes=workspace.max_bytes,
                max_questions_per_day=workspace.max_questions_per_day,
            )
        return await quota_repository.workspace_account(tx.session, workspace)

"""New words for a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Workspace
from docutalk_gateway.domain import Role


async def change_workspace(
    db: Database, cause: Cause, *, workspace_id: UUID, user_id: UUID, changes: Mapping[str, str | None]
) -> tuple[Workspace, Role]:
    """Sets `name`, `description` or `system_prompt`. Raises `NotFound`."""
    async with db.transaction(cause) as tx:
        found = await repository.workspace_of(tx.session, workspace_id, user_id)
        if found is None:
            raise NotFound("There is no such workspace.")
        for field, value in changes.items():
            setattr(found[0], field, value)
        found[0].updated_at = datetime.now(UTC)
        return found

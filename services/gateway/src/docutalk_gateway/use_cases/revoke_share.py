"""A share link leads nowhere any more."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import share_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note


async def revoke_share(db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID, share_id: UUID) -> None:
    """From the next request of any visitor on. The link stays listed, with its log. Raises `NotFound`."""
    async with db.transaction(cause) as tx:
        share = await share_repository.lock_share(tx.session, workspace_id, share_id)
        if share is None:
            raise NotFound("There is no such share link.")
        if share.revoked_at is None:
            share.revoked_at = datetime.now(UTC)
            note(tx.session, Action.SHARE_REVOKED, actor, workspace_id=workspace_id, target_id=share_id)

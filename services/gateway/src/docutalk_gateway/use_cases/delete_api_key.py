"""A key signs in no more."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note


async def delete_api_key(db: Database, cause: Cause, actor: Actor, *, user_id: UUID, key_id: UUID) -> None:
    """From the next request on. Raises `NotFound`, also for somebody else's key."""
    async with db.transaction(cause) as tx:
        if not await repository.delete_api_key(tx.session, user_id, key_id):
            raise NotFound("There is no such API key.")
        note(tx.session, Action.KEY_DELETED, actor, target_id=key_id)

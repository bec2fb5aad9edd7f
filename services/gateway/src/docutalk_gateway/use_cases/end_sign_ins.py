"""Somebody ends sign-ins of theirs, for example one on a lost device."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note


async def end_sign_in(db: Database, cause: Cause, actor: Actor, *, user_id: UUID, sign_in_id: UUID) -> None:
    """Its access token is refused from the next request on. Raises `NotFound`, also for somebody else's and for one that has
    ended."""
    async with db.transaction(cause) as tx:
        if not await repository.end_sign_ins(tx.session, user_id, datetime.now(UTC), only=sign_in_id):
            raise NotFound("There is no such sign-in, or it has ended.")
        note(tx.session, Action.SIGNED_OUT, actor, target_id=sign_in_id)


async def end_other_sign_ins(db: Database, cause: Cause, actor: Actor, *, user_id: UUID, keep: UUID | None) -> None:
    """All but `keep`."""
    async with db.transaction(cause) as tx:
        ended = await repository.end_sign_ins(tx.session, user_id, datetime.now(UTC), but=keep)
        if ended:
            note(tx.session, Action.SIGNED_OUT, actor, target_id=user_id, others=ended)

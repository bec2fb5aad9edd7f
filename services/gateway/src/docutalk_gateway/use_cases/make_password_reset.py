"""An administrator opens a way for somebody to set their password anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import PasswordReset
from docutalk_gateway.adapters.tokens import hash_token, new_token

LIFETIME = timedelta(hours=24)


async def make_password_reset(db: Database, cause: Cause, actor: Actor, *, user_id: UUID) -> tuple[str, datetime]:
    """A token, which works once, and until when. An earlier one of the same account works no more. Raises `NotFound`."""
    token, expires_at = new_token(), datetime.now(UTC) + LIFETIME
    async with db.transaction(cause) as tx:
        if await repository.user_by_id(tx.session, user_id) is None:
            raise NotFound("There is no such account.")
        reset = PasswordReset(user_id=user_id, token_hash=hash_token(token), expires_at=expires_at)
        await account_repository.put_reset(tx.session, reset)
        note(tx.session, Action.PASSWORD_RESET_MADE, actor, target_id=user_id)
    return token, expires_at

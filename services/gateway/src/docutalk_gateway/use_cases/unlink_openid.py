"""An account belongs to nobody at the OpenID provider any more."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import account_repository, openid_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note


async def unlink_openid(db: Database, cause: Cause, actor: Actor, *, user_id: UUID) -> None:
    """Whoever signs in next with the account's address at the provider is taken for its owner; who signed in there before is
    signed out. Raises `NotFound`."""
    async with db.transaction(cause) as tx:
        if await account_repository.lock_account(tx.session, user_id) is None:
            raise NotFound("There is no such account.")
        if await openid_repository.remove_identities(tx.session, user_id):
            await repository.end_sign_ins(tx.session, user_id, datetime.now(UTC))
            note(tx.session, Action.USER_CHANGED, actor, target_id=user_id, openid="unlinked")

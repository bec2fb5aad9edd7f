"""The end of a sign-in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.tokens import hash_token


async def sign_out(db: Database, cause: Cause, actor: Actor, *, refresh_token: str) -> None:
    """Ends the token's sign-in, its access token too. An unknown token is fine: what the caller wanted is so."""
    async with db.transaction(cause) as tx:
        found = await repository.lock_refresh_token(tx.session, hash_token(refresh_token))
        if found is not None:
            user_id, sign_in_id = found[1].user_id, found[1].id
            if await repository.end_sign_ins(tx.session, user_id, datetime.now(UTC), only=sign_in_id):
                note(tx.session, Action.SIGNED_OUT, replace(actor, kind=ActorKind.USER, id=user_id), target_id=sign_in_id)

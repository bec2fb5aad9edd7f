"""Whoever has the token of a reset sets the password."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, count_attempt, forgive_attempt


async def reset_password(
    db: Database, passwords: Passwords, cause: Cause, actor: Actor, *, limits: AttemptLimits, token: str, new_password: str
) -> None:
    """Uses the token up, and ends every sign-in of the account. Raises `NotFound` for one that is unknown, used, replaced or has
    expired, and `TooManyRequests`."""
    attempt = limits.of_address("reset", actor.address)
    await count_attempt(db, cause, actor, attempt)
    token_hash, now = hash_token(token), datetime.now(UTC)
    async with db.read() as session:
        user_id = await account_repository.reset_with(session, token_hash, now)
    if user_id is None:
        raise _over()
    hashed = await passwords.hash(new_password)
    async with db.transaction(cause) as tx:
        # First, as whoever changes a password does: two of them would else wait for each other.
        await account_repository.lock_account(tx.session, user_id)
        if not await account_repository.take_reset(tx.session, token_hash, now):
            raise _over()
        await account_repository.set_password(tx.session, user_id, hashed)
        await repository.end_sign_ins(tx.session, user_id, now)
        await forgive_attempt(tx.session, attempt)
        owner = replace(actor, kind=ActorKind.USER, id=user_id)
        note(tx.session, Action.PASSWORD_CHANGED, owner, target_id=user_id, reset=True)


def _over() -> NotFound:
    return NotFound("This link is not valid (any more). Ask an administrator for a new one.")

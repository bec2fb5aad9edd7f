"""Another password; who else is signed in with the old one is not any more."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import Conflict
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, forgive_attempt
from docutalk_gateway.use_cases.prove_password import Proof, expect_fresh_sign_in, prove_password


async def change_password(
    db: Database,
    passwords: Passwords,
    cause: Cause,
    actor: Actor,
    *,
    limits: AttemptLimits,
    user_id: UUID,
    keep: UUID | None,
    current_password: str | None,
    new_password: str,
) -> None:
    """Ends every sign-in but `keep`. An account without a password gets its first one, and raises `NotAllowed` unless `keep` was
    begun a moment ago; else raises `RequestFailed("invalid")`
    without the current one, `WrongPassword` for another, and `TooManyRequests`."""
    proof: Proof | None = None
    if current_password is not None:
        proof = await prove_password(db, passwords, cause, actor, limits=limits, user_id=user_id, password=current_password)
    elif await _has_password(db, user_id):
        raise RequestFailed("invalid", "current_password is missing: to change a password takes the one before.")
    else:
        await expect_fresh_sign_in(db, keep)
    hashed = await passwords.hash(new_password)
    async with db.transaction(cause) as tx:
        user = await account_repository.lock_account(tx.session, user_id)
        if user is None or user.password_hash != (proof.user.password_hash if proof else None):
            raise Conflict("The password was changed a moment ago, by somebody else or in another window. Nothing was changed.")
        await account_repository.set_password(tx.session, user_id, hashed)
        await repository.end_sign_ins(tx.session, user_id, datetime.now(UTC), but=keep)
        if proof is not None:
            await forgive_attempt(tx.session, proof.limits)
        note(tx.session, Action.PASSWORD_CHANGED, actor, target_id=user_id)


async def _has_password(db: Database, user_id: UUID) -> bool:
    async with db.read() as session:
        user = await repository.user_by_id(session, user_id)
    if user is None:
        raise NotFound("This account does not exist any more.")
    return user.password_hash is not None

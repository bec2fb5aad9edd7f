"""Somebody who is signed in proves that it is them, before something is changed that would lock them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import User
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import NotAllowed, WrongPassword
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, Limit, count_attempt

FRESH = timedelta(minutes=10)


@dataclass(frozen=True)
class Proof:
    """Who it is, as they were when the password was looked at; `limits` are to be forgiven with what the proof is for."""

    user: User
    limits: Sequence[Limit]


async def prove_password(
    db: Database,
    passwords: Passwords,
    cause: Cause,
    actor: Actor,
    *,
    limits: AttemptLimits,
    user_id: UUID,
    password: str,
) -> Proof:
    """Raises `WrongPassword`, `NotAllowed` for an account that has no password, and `TooManyRequests`: a stolen access token is
    no way to guess."""
    async with db.read() as session:
        user = await repository.user_by_id(session, user_id)
        if user is None:
            raise NotFound("This account does not exist any more.")
        if user.password_hash is None:
            raise NotAllowed("This account has no password. Set one first.")
        spelt, _ = await account_repository.account_named(session, user.email)
    attempt = limits.of_account(spelt, actor.address)
    await count_attempt(db, cause, actor, attempt, account_id=user_id)
    if not await passwords.matches(password, user.password_hash):
        async with db.transaction(cause) as tx:
            note(tx.session, Action.SIGN_IN_FAILED, actor, target_id=user_id)
        raise WrongPassword
    return Proof(user, attempt)


async def expect_fresh_sign_in(db: Database, sign_in_id: UUID | None) -> None:
    """The proof of who has no password: they have just come from their provider. Raises `NotAllowed` otherwise, as for a stolen
    access token of yesterday's sign-in."""
    async with db.read() as session:
        begun = await repository.sign_in_begun(session, sign_in_id) if sign_in_id is not None else None
    if begun is None or begun < datetime.now(UTC) - FRESH:
        raise NotAllowed(
            "Your account has no password: sign in once more at your OpenID provider, and do this within"
            f" {FRESH.seconds // 60} minutes."
        )

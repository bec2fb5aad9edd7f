"""A password becomes a pair of tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.models import RefreshToken, SignIn
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens, Identity, hash_token, new_token
from docutalk_gateway.domain import WrongCredentials
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, count_attempt, forgive_attempt


@dataclass(frozen=True)
class TokenPair:
    """What a sign-in or a refresh gives. `expires_in` is in seconds and speaks of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int


async def issue_pair(session: AsyncSession, tokens: AccessTokens, sign_in: SignIn) -> TokenPair:
    """Stores the next refresh token of a sign-in and signs an access token."""
    refresh_token = new_token()
    await repository.add_refresh_token(
        session,
        RefreshToken(id=uuid7(), sign_in_id=sign_in.id, token_hash=hash_token(refresh_token), expires_at=sign_in.expires_at),
    )
    return TokenPair(tokens.issue(Identity(sign_in_id=sign_in.id)), refresh_token, tokens.seconds)


async def start_sign_in(
    session: AsyncSession, tokens: AccessTokens, actor: Actor, *, user_id: UUID, method: str, lifetime: timedelta
) -> TokenPair:
    """A new sign-in of somebody who has proven who they are, noted in the audit log."""
    now = datetime.now(UTC)
    sign_in = SignIn(
        id=uuid7(),
        user_id=user_id,
        method=method,
        user_agent=actor.user_agent,
        address=actor.address,
        last_used_at=now,
        expires_at=now + lifetime,
    )
    await repository.add_sign_in(session, sign_in)
    note(session, Action.SIGNED_IN, replace(actor, kind=ActorKind.USER, id=user_id), target_id=sign_in.id, method=method)
    return await issue_pair(session, tokens, sign_in)


async def sign_in(
    db: Database,
    passwords: Passwords,
    tokens: AccessTokens,
    cause: Cause,
    actor: Actor,
    *,
    limits: AttemptLimits,
    email: str,
    password: str,
    lifetime: timedelta,
) -> TokenPair:
    """Starts a sign-in. Raises `WrongCredentials`, after the same time and as many statements, for a wrong password, an account
    that has none, and one that does not exist; and `TooManyRequests` before any password is looked at."""
    async with db.read() as session:
        spelt, user = await account_repository.account_named(session, email)
    attempt = limits.of_account(spelt, actor.address)
    await count_attempt(db, cause, actor, attempt, account_id=user.id if user else None)
    while True:
        fits, renewed = await passwords.check(password, user.password_hash if user else None)
        async with db.transaction(cause) as tx:
            # Whoever changes a password ends all sign-ins that there are. None may begin with the old one a moment later.
            current = await account_repository.lock_account(tx.session, user.id) if fits and user is not None else None
            if user is not None and current is not None and current.disabled_at is None:
                if current.password_hash != user.password_hash:
                    # Another sign-in at the same moment may have renewed the hash of the same password.
                    user = current
                    continue
                if renewed is not None:
                    await account_repository.renew_hash(tx.session, user.id, renewed)
                await forgive_attempt(tx.session, attempt)
                return await start_sign_in(tx.session, tokens, actor, user_id=user.id, method="password", lifetime=lifetime)
            note(tx.session, Action.SIGN_IN_FAILED, actor, target_id=user.id if user else None)
        # Raised after the commit: inside the block it would take the entry back.
        raise WrongCredentials

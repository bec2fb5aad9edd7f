"""A password becomes a pair of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import RefreshToken
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens, Identity, hash_refresh_token, new_refresh_token
from docutalk_gateway.domain import WrongCredentials


@dataclass(frozen=True)
class Client:
    """From where a token was asked for; shown in the list of sessions."""

    user_agent: str | None
    address: str | None


@dataclass(frozen=True)
class TokenPair:
    """What a sign-in or a refresh gives. `expires_in` is in seconds and speaks of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int


async def issue_pair(
    session: AsyncSession, tokens: AccessTokens, client: Client, *, user_id: UUID, family_id: UUID, lifetime: timedelta
) -> TokenPair:
    """Stores the next refresh token of a family and signs an access token."""
    refresh_token = new_refresh_token()
    await repository.add_refresh_token(
        session,
        RefreshToken(
            id=uuid7(),
            family_id=family_id,
            user_id=user_id,
            token_hash=hash_refresh_token(refresh_token),
            user_agent=client.user_agent,
            address=client.address,
            expires_at=datetime.now(UTC) + lifetime,
        ),
    )
    return TokenPair(tokens.issue(Identity(user_id, family_id)), refresh_token, tokens.seconds)


async def sign_in(
    db: Database,
    passwords: Passwords,
    tokens: AccessTokens,
    cause: Cause,
    client: Client,
    *,
    email: str,
    password: str,
    lifetime: timedelta,
) -> TokenPair:
    """Starts a family of tokens. Raises `WrongCredentials`, after the same time, for a wrong password and an unknown account."""
    async with db.read() as session:
        user = await repository.user_by_email(session, email)
    if not await passwords.matches(password, user.password_hash if user else None) or user is None:
        raise WrongCredentials
    async with db.transaction(cause) as tx:
        return await issue_pair(tx.session, tokens, client, user_id=user.id, family_id=uuid7(), lifetime=lifetime)

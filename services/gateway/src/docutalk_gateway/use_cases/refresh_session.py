"""A refresh token becomes a new pair and is used up (rotation with reuse detection, RFC 9700 section 4.14.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.tokens import AccessTokens, hash_refresh_token
from docutalk_gateway.domain import InvalidRefreshToken
from docutalk_gateway.use_cases.sign_in import Client, TokenPair, issue_pair

log = get_logger(__name__)


async def refresh_session(
    db: Database, tokens: AccessTokens, cause: Cause, client: Client, *, refresh_token: str, lifetime: timedelta
) -> TokenPair:
    """The next pair. Raises `InvalidRefreshToken`; a token that was used before also ends its whole family, since one of its
    two users is a thief."""
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        token = await repository.lock_refresh_token(tx.session, hash_refresh_token(refresh_token))
        if token is not None and token.used_at is None and token.revoked_at is None and token.expires_at > now:
            token.used_at = now
            return await issue_pair(
                tx.session, tokens, client, user_id=token.user_id, family_id=token.family_id, lifetime=lifetime
            )
        if token is not None and token.used_at is not None:
            await repository.revoke_family(tx.session, token.family_id, now)
            log.warning("refresh token used twice, its family is revoked", user_id=str(token.user_id))
    # Raised after the commit: inside the block it would take the revocation back.
    raise InvalidRefreshToken

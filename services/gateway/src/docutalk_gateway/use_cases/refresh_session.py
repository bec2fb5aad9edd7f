"""A refresh token becomes a new pair and is used up (rotation with reuse detection, RFC 9700 section 4.14.2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.tokens import AccessTokens, hash_token
from docutalk_gateway.domain import InvalidRefreshToken
from docutalk_gateway.use_cases.sign_in import TokenPair, issue_pair

log = get_logger(__name__)


async def refresh_session(
    db: Database, tokens: AccessTokens, cause: Cause, actor: Actor, *, refresh_token: str, lifetime: timedelta
) -> TokenPair:
    """The next pair. Raises `InvalidRefreshToken`; a token that was used before also ends its whole sign-in, since one of its
    two users is a thief."""
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        found = await repository.lock_refresh_token(tx.session, hash_token(refresh_token))
        if found is not None:
            token, sign_in = found
            user = await repository.user_by_id(tx.session, sign_in.user_id)
            ended = sign_in.revoked_at is not None or user is None or user.disabled_at is not None
            if token.used_at is None and not ended and token.expires_at > now:
                token.used_at = now
                sign_in.last_used_at = now
                sign_in.expires_at = now + lifetime
                sign_in.address, sign_in.user_agent = actor.address, actor.user_agent
                return await issue_pair(tx.session, tokens, sign_in)
            if token.used_at is not None and not ended:
                await repository.end_sign_ins(tx.session, sign_in.user_id, now, only=sign_in.id)
                thief = replace(actor, kind=ActorKind.USER, id=sign_in.user_id)
                note(tx.session, Action.TOKEN_REUSED, thief, target_id=sign_in.id)
                log.warning("refresh token used twice, its sign-in is ended", user_id=str(sign_in.user_id))
    # Raised after the commit: inside the block it would take the revocation back.
    raise InvalidRefreshToken

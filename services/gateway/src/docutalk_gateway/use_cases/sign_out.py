"""The end of a sign-in."""

from __future__ import annotations

from datetime import UTC, datetime

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.tokens import hash_refresh_token


async def sign_out(db: Database, cause: Cause, *, refresh_token: str) -> None:
    """Revokes the token's family. An unknown token is fine: what the caller wanted is so."""
    async with db.transaction(cause) as tx:
        token = await repository.lock_refresh_token(tx.session, hash_refresh_token(refresh_token))
        if token is not None:
            await repository.revoke_family(tx.session, token.family_id, datetime.now(UTC))

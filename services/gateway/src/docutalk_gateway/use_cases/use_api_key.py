"""A program signs in with a key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.tokens import hash_api_key
from docutalk_gateway.domain import NotSignedIn

# A write for each request would be the most there is to do for many of them.
NOTED_EVERY = timedelta(minutes=1)


async def use_api_key(db: Database, cause: Cause, key: str) -> UUID:
    """Whose key it is; that it was used is noted once a minute. Raises `NotSignedIn` when it is unknown or has expired."""
    async with db.read() as session:
        found = await repository.api_key_by_hash(session, hash_api_key(key))
    if found is None:
        raise NotSignedIn("This API key is not valid, or it was deleted. Make a new one.")
    now = datetime.now(UTC)
    if found.expires_at is not None and found.expires_at <= now:
        raise NotSignedIn(f"This API key expired on {found.expires_at:%Y-%m-%d at %H:%M} UTC. Make a new one.")
    if found.last_used_at is None or found.last_used_at < now - NOTED_EVERY:
        async with db.transaction(cause) as tx:
            await repository.mark_key_used(tx.session, found.id, now, unless_since=now - NOTED_EVERY)
    return found.user_id

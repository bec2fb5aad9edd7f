"""A key for a program that acts in somebody's name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import ApiKey
from docutalk_gateway.adapters.tokens import hash_token, hint_of, new_api_key
from docutalk_gateway.domain import Scope, TooManyApiKeys

KEYS_MAX = 100


async def create_api_key(
    db: Database,
    cause: Cause,
    actor: Actor,
    *,
    user_id: UUID,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """What is stored, and the key itself, which cannot be had again. Raises `TooManyApiKeys`, and `RequestFailed("invalid")` for
    one that would have expired already."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise RequestFailed("invalid", "expires_at has passed already. Give a time to come, or leave it out.")
    key = new_api_key()
    stored = ApiKey(
        id=uuid7(),
        user_id=user_id,
        name=name,
        hint=hint_of(key),
        key_hash=hash_token(key),
        scopes=sorted({scope.value for scope in scopes}),
        expires_at=expires_at,
    )
    async with db.transaction(cause) as tx:
        if not await repository.add_api_key(tx.session, stored, most=KEYS_MAX):
            raise TooManyApiKeys(KEYS_MAX)
        note(tx.session, Action.KEY_CREATED, actor, target_id=stored.id)
    return stored, key

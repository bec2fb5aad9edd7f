"""`Idempotency-Key`: a request that is made twice is done once (after draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import IdempotencyKey
from docutalk_gateway.domain import KeyInUse, KeyReused

KEEP = timedelta(hours=24)
# A gateway that was killed leaves its claim behind. One that still works after this long runs beside the repetition.
ABANDONED = timedelta(seconds=60)


@dataclass(frozen=True)
class RequestKey:
    """What names a request: who, where, and the key they chose."""

    user_id: UUID
    route: str
    key: str


@dataclass(frozen=True)
class Remembered:
    """An answer that was given before."""

    fingerprint: bytes
    status: int
    headers: dict[str, str]
    body: bytes


async def claim(db: Database, cause: Cause, key: RequestKey, fingerprint: bytes | None) -> Remembered | None:
    """Takes the key for this request, or returns the answer that it got before.

    Without a `fingerprint` (a body too long to know yet) the caller compares later, with `Remembered.fingerprint`. Raises
    `KeyInUse` while the first request runs, `KeyReused` when it was another one.
    """
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        wanted = IdempotencyKey(user_id=key.user_id, route=key.route, key=key.key, fingerprint=fingerprint, expires_at=now + KEEP)
        if await repository.claim_key(tx.session, wanted, abandoned_before=now - ABANDONED, now=now):
            return None
        held = await repository.idempotency_key(tx.session, key.user_id, key.route, key.key)
    if held is None or held.status is None:
        if held is not None and fingerprint is not None and held.fingerprint not in {None, fingerprint}:
            raise KeyReused
        raise KeyInUse
    assert held.fingerprint is not None
    if fingerprint is not None and held.fingerprint != fingerprint:
        raise KeyReused
    return Remembered(held.fingerprint, held.status, held.headers or {}, held.body or b"")


async def remember(db: Database, cause: Cause, key: RequestKey, answer: Remembered) -> None:
    """Stores the answer for a day."""
    async with db.transaction(cause) as tx:
        await repository.complete_key(
            tx.session,
            IdempotencyKey(
                user_id=key.user_id,
                route=key.route,
                key=key.key,
                fingerprint=answer.fingerprint,
                status=answer.status,
                headers=answer.headers,
                body=answer.body,
            ),
        )


async def release(db: Database, cause: Cause, key: RequestKey) -> None:
    """Gives the key back after a failure: the next try may succeed."""
    async with db.transaction(cause) as tx:
        await repository.release_key(tx.session, key.user_id, key.route, key.key)

"""The keys that access tokens are signed with: made, loaded by every gateway, replaced from time to time."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import SYSTEM, Action, Actor, note
from docutalk_gateway.adapters.models import SigningKey
from docutalk_gateway.adapters.tokens import AccessTokens, Key

log = get_logger(__name__)

EVERY_SECONDS = 60.0
# Gateways whose clocks differ, and a token that was signed at the last moment.
MARGIN = timedelta(minutes=5)


async def load_signing_keys(db: Database, tokens: AccessTokens, secret: str) -> None:
    """The keys that are accepted now, whichever gateway made them."""
    async with db.read() as session:
        stored = await repository.signing_keys(session, datetime.now(UTC))
    if stored:
        tokens.replace([Key.derive(key.id, key.salt, secret) for key in stored])


async def renew_signing_key(db: Database, tokens: AccessTokens, secret: str, *, older_than: timedelta) -> None:
    """A new key when there is none, or the newest is older than `older_than`; then loads them. Several gateways make one."""
    now = datetime.now(UTC)
    async with db.transaction(Cause.new()) as tx:
        await repository.lock_signing_keys(tx.session)
        stored = await repository.signing_keys(tx.session, now)
        if not stored or stored[0].created_at < now - older_than:
            await _rotate(tx.session, tokens, SYSTEM, now)
    await load_signing_keys(db, tokens, secret)


async def rotate_signing_key(
    db: Database, tokens: AccessTokens, secret: str, cause: Cause, actor: Actor, *, at_once: bool
) -> SigningKey:
    """A new key signs from now on. Tokens of the old ones stay valid for as long as they would have been, or not a moment longer
    (`at_once`): everybody then refreshes theirs."""
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        await repository.lock_signing_keys(tx.session)
        if at_once:
            await repository.retire_signing_keys(tx.session, now)
        made = await _rotate(tx.session, tokens, actor, now)
    await load_signing_keys(db, tokens, secret)
    return made


async def _rotate(session: AsyncSession, tokens: AccessTokens, actor: Actor, now: datetime) -> SigningKey:
    await repository.retire_signing_keys(session, now + timedelta(seconds=tokens.longest_seconds) + MARGIN)
    made = SigningKey(id=secrets.token_hex(8), salt=secrets.token_bytes(32), created_at=now)
    session.add(made)
    await session.flush()
    note(session, Action.SIGNING_KEY_ROTATED, actor, key=made.id)
    return made


async def keep_signing_keys(db: Database, tokens: AccessTokens, secret: str, *, older_than: timedelta) -> None:
    """Every minute, until cancelled: renews the key when it is time, and drops those that retired."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await renew_signing_key(db, tokens, secret, older_than=older_than)
        except DependencyUnavailable as error:
            log.warning("signing keys stay as they are for now", reason=str(error))
        except Exception:
            log.exception("signing keys stay as they are for now")

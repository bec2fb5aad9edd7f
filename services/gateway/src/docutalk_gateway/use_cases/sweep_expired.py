"""What has run out is deleted: tokens, idempotency keys, who asked for which answer, superseded uploads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import repository

log = get_logger(__name__)

EVERY_SECONDS = 3600.0
# Expired tokens stay a while: only a known token shows that it is used a second time.
TOKENS_STAY = timedelta(days=7)
MESSAGES_STAY = timedelta(days=2)
VERSIONS_STAY = timedelta(days=1)


async def sweep_expired(db: Database) -> None:
    """One round."""
    now = datetime.now(UTC)
    async with db.transaction(Cause.new()) as tx:
        await repository.delete_expired_sign_ins(tx.session, now - TOKENS_STAY)
        await repository.delete_retired_keys(tx.session, now)
        await repository.delete_expired_keys(tx.session, now)
        await repository.delete_old_messages(tx.session, now - MESSAGES_STAY)
        await repository.delete_superseded_uploads(tx.session, now - VERSIONS_STAY)


async def sweep_for_ever(db: Database, *, every: float = EVERY_SECONDS) -> None:
    """A round every hour (`every`, in seconds), until cancelled. Several gateways may do it at once."""
    while True:
        try:
            await sweep_expired(db)
        except DependencyUnavailable as error:
            log.warning("expired rows stay for now", reason=str(error))
        except Exception:
            # Two gateways in each other's way, a statement that took too long: the next round may succeed, if there is one.
            log.exception("expired rows stay for now")
        await asyncio.sleep(every)

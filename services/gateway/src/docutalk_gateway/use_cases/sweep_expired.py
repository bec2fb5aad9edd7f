"""What has run out is deleted: tokens, idempotency keys, who asked for which answer, superseded uploads, audit entries."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import (
    account_repository,
    audit_log,
    import_repository,
    openid_repository,
    rate_limits,
    repository,
    share_repository,
)
from docutalk_gateway.use_cases.erase_visits import erase_visits

log = get_logger(__name__)

EVERY_SECONDS = 3600.0
# Expired tokens stay a while: only a known token shows that it is used a second time.
TOKENS_STAY = timedelta(days=7)
MESSAGE_KEYS_STAY = timedelta(days=2)
# As long as the log has the words: when whoever asked is deleted, chat may not know the question any more.
MESSAGES_STAY = timedelta(days=31)
VERSIONS_STAY = timedelta(days=1)
SHARE_LOG_STAYS = timedelta(days=90)
AUDIT_STAYS = timedelta(days=365)
IMPORTS_STAY = timedelta(days=30)


async def sweep_expired(
    db: Database, *, audit_stays: timedelta = AUDIT_STAYS, share_log_stays: timedelta = SHARE_LOG_STAYS
) -> None:
    """One round."""
    now = datetime.now(UTC)
    async with db.transaction(Cause.new()) as tx:
        await repository.delete_expired_sign_ins(tx.session, now - TOKENS_STAY)
        await openid_repository.delete_expired_openid(tx.session, now)
        await repository.delete_retired_keys(tx.session, now)
        await account_repository.delete_expired_invitations(tx.session, now)
        await account_repository.delete_expired_resets(tx.session, now)
        await repository.delete_expired_keys(tx.session, now)
        await repository.free_message_keys(tx.session, now - MESSAGE_KEYS_STAY)
        await repository.delete_old_messages(tx.session, now - MESSAGES_STAY)
        await repository.delete_superseded_uploads(tx.session, now - VERSIONS_STAY)
        await erase_visits(tx, await share_repository.delete_ended_visits(tx.session, now))
        await share_repository.delete_old_accesses(tx.session, now - share_log_stays)
        await audit_log.delete_entries(tx.session, now - audit_stays)
        await import_repository.delete_old_imports(tx.session, now - IMPORTS_STAY)
        await rate_limits.delete_ended(tx.session, now)


async def sweep_for_ever(
    db: Database,
    *,
    every: float = EVERY_SECONDS,
    audit_stays: timedelta = AUDIT_STAYS,
    share_log_stays: timedelta = SHARE_LOG_STAYS,
) -> None:
    """A round every hour (`every`, in seconds), until cancelled. Several gateways may do it at once."""
    while True:
        try:
            await sweep_expired(db, audit_stays=audit_stays, share_log_stays=share_log_stays)
        except DependencyUnavailable as error:
            log.warning("expired rows stay for now", reason=str(error))
        except Exception:
            # Two gateways in each other's way, a statement that took too long: the next round may succeed, if there is one.
            log.exception("expired rows stay for now")
        await asyncio.sleep(every)

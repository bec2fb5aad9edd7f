"""Archives that no import needs are deleted: those whose gateway was killed, or whose person was deleted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import import_repository
from docutalk_gateway.use_cases.accept_import import PREFIX

log = get_logger(__name__)

# An archive is there a moment before its import is. What is left of a person who was deleted goes soon.
OLDER_THAN = timedelta(minutes=10)


async def sweep_archives(db: Database, storage: ObjectStorage, *, older_than: timedelta = OLDER_THAN) -> int:
    """Deletes archives older than that whose import has come to its end or was never accepted; how many. Several gateways may do
    it at once."""
    before = datetime.now(UTC) - older_than
    swept = 0
    async for entries in storage.entries(PREFIX):
        old = [entry.key for entry in entries if entry.modified_at < before]
        if not old:
            continue
        async with db.read() as session:
            needed = await import_repository.known_archives(session, old)
        loose = [key for key in old if key not in needed]
        if loose:
            await storage.delete(loose)
            swept += len(loose)
            log.info("archives without an import were deleted", count=len(loose))
    return swept


async def sweep_archives_for_ever(db: Database, storage: ObjectStorage, *, every: float) -> None:
    """A round now and then every so many seconds, until cancelled."""
    while True:
        try:
            await sweep_archives(db, storage)
        except DependencyUnavailable as error:
            log.info("archives stay for now", reason=str(error))
        except Exception:
            log.exception("archives stay for now")
        await asyncio.sleep(every)

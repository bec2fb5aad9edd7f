"""Objects that belong to nothing are deleted: those of an upload whose gateway was killed before it could clean up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from docutalk_common.contracts.ingest import KnownObjects, ObjectsKnown
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable, RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger
from prometheus_client import Counter

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.sole import sole

log = get_logger(__name__)

SWEPT = Counter("docutalk_objects_swept_total", "Objects without a document, and unfinished uploads, that were deleted", ["kind"])

# `{workspace}/{document}/…`: whatever else somebody keeps in the bucket is not ours to judge.
_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[^/]+")
ASK_SECONDS = 10.0
# After a start the other services may need a moment.
AGAIN_SECONDS = 60.0


async def sweep_objects(db: Database, storage: ObjectStorage, requests: RequestClient, *, older_than: timedelta) -> int:
    """Deletes objects older than that which neither an upload nor ingest knows, and ends multipart uploads as old; how many.

    While another gateway sweeps, nothing is done. Raises `RequestFailed` when ingest does not answer: what it did not say is
    not deleted.
    """
    before = datetime.now(UTC) - older_than
    swept = 0
    async with sole(db, "object sweep") as alone:
        if not alone:
            return 0
        async for entries in storage.entries():
            old = [entry.key for entry in entries if entry.modified_at < before and _OURS.fullmatch(entry.key)]
            if old and (orphans := await _unknown(db, requests, old)):
                await storage.delete(orphans)
                swept += len(orphans)
                SWEPT.labels("object").inc(len(orphans))
                log.info("objects without a document were deleted", count=len(orphans), keys=orphans[:10])
        unfinished = await storage.abort_unfinished(before)
        if unfinished:
            SWEPT.labels("unfinished").inc(unfinished)
            log.info("unfinished uploads were ended", count=unfinished)
    return swept + unfinished


async def _unknown(db: Database, requests: RequestClient, keys: Sequence[str]) -> list[str]:
    async with db.read() as session:
        known = await repository.known_objects(session, keys)
    question = KnownObjects(keys=[key for key in keys if key not in known])
    if not question.keys:
        return []
    answer = await requests.ask("rpc.ingest.v1.object.known", question, ObjectsKnown, cause=Cause.new(), timeout=ASK_SECONDS)
    stay = set(answer.keys)
    return [key for key in question.keys if key not in stay]


async def sweep_objects_for_ever(
    db: Database, storage: ObjectStorage, requests: RequestClient, *, older_than: timedelta, every: float
) -> None:
    """A round now and then every so many seconds, sooner after one that failed, until cancelled."""
    while True:
        pause = every
        try:
            await sweep_objects(db, storage, requests, older_than=older_than)
        except (DependencyUnavailable, RequestFailed) as error:
            pause = min(every, AGAIN_SECONDS)
            log.info("objects without a document stay for now", reason=str(error))
        except Exception:
            log.exception("objects without a document stay for now")
        await asyncio.sleep(pause)

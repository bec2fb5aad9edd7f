"""When every service has said that it is gone there, what is left of it in the log and the object store goes, too."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import erasure_repository
from docutalk_gateway.adapters.audit_log import SYSTEM, Action, note
from docutalk_gateway.adapters.erasure_repository import ErasureState
from docutalk_gateway.adapters.log_purge import AT_ONCE, LogPurge
from docutalk_gateway.adapters.models import Erasure
from docutalk_gateway.adapters.sole import sole
from docutalk_gateway.domain import ErasureKind

log = get_logger(__name__)

EVERY_SECONDS = 10.0
QUESTIONS_AT_ONCE = 500


async def complete_erasures(db: Database, storage: ObjectStorage, purge: LogPurge) -> int:
    """Completes what can be completed; how many. While another gateway is at it, nothing is done.

    Everything is purged first, and only then is it complete: a gateway that is killed in between leaves it to be done again.
    Raises `DependencyUnavailable`.
    """
    if not await _ready(db):
        return 0
    completed = 0
    async with sole(db, "erasures") as alone:
        # The last of a user's workspaces lets their own erasure be completed.
        while alone and (ready := await _ready(db)):
            for state in ready:
                completed += await _complete(db, storage, purge, state.erasure)
    return completed


async def _ready(db: Database) -> list[ErasureState]:
    async with db.read() as session:
        return [state for state in await erasure_repository.pending_erasures(session) if state.can_be_completed]


async def _complete(db: Database, storage: ObjectStorage, purge: LogPurge, erasure: Erasure) -> bool:
    objects = 0
    is_workspace = erasure.kind == ErasureKind.WORKSPACE.value
    if is_workspace:
        await purge.workspace(erasure.subject_id)
        objects = await _remove_objects(storage, erasure.subject_id)
    else:
        await _purge_questions(db, purge, erasure.subject_id)
        await purge.entity(erasure.subject_id)
        await purge.entity(erasure.id)
    async with db.transaction(Cause.new()) as tx:
        done = await erasure_repository.complete_erasure(tx.session, erasure, datetime.now(UTC), objects=objects)
        if done:
            workspace_id = erasure.subject_id if is_workspace else None
            note(tx.session, Action.ERASED, SYSTEM, workspace_id=workspace_id, target_id=erasure.id, kind=erasure.kind)
    log.info("an erasure is complete", erasure_id=str(erasure.id), kind=erasure.kind, objects=objects)
    return done


async def _purge_questions(db: Database, purge: LogPurge, user_id: UUID) -> None:
    """Chat names those that it has. One that was on its way to it is known here only, and so is one whose conversation was
    deleted before."""
    while True:
        async with db.read() as session:
            posted = await erasure_repository.posted_by(session, user_id, limit=QUESTIONS_AT_ONCE)
        if not posted:
            return
        for first in range(0, len(posted), AT_ONCE):
            some = posted[first : first + AT_ONCE]
            await asyncio.gather(*(purge.question(one.workspace_id, one.message_id, one.answer_id) for one in some))
        async with db.transaction(Cause.new()) as tx:
            await erasure_repository.forget_posted(tx.session, [question.answer_id for question in posted])


async def _remove_objects(storage: ObjectStorage, workspace_id: UUID) -> int:
    """Those that ingest did not know: of uploads that were cut off."""
    count = 0
    async for entries in storage.entries(f"{workspace_id}/"):
        await storage.delete([entry.key for entry in entries])
        count += len(entries)
    return count


async def complete_erasures_for_ever(
    db: Database, storage: ObjectStorage, purge: LogPurge, stored: asyncio.Event, *, every: float = EVERY_SECONDS
) -> None:
    """A round whenever a receipt is `stored` here, and every so many seconds for those that were stored elsewhere, until
    cancelled."""
    while True:
        stored.clear()
        try:
            await complete_erasures(db, storage, purge)
        except DependencyUnavailable as error:
            log.info("erasures are completed later", reason=str(error))
        except Exception:
            log.exception("erasures are completed later")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await stored.wait()

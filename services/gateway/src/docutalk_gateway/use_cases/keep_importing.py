"""Imports that wait are worked on, one at a time by each gateway, also those that another one left when it was killed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable, RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import cancel_all
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import erasure_repository, import_repository
from docutalk_gateway.adapters.audit_log import SYSTEM
from docutalk_gateway.adapters.models import Import
from docutalk_gateway.domain import ArchiveRefused, ImportStatus
from docutalk_gateway.use_cases.check_archive import SizeLimits
from docutalk_gateway.use_cases.delete_workspace import erase_workspace
from docutalk_gateway.use_cases.go_after_a_deadlock import one_after_the_other
from docutalk_gateway.use_cases.import_workspace import LeaseLost, Progress, WorkspaceImport

log = get_logger(__name__)

LEASE = timedelta(seconds=30)
# Between two notes of how far an import is.
TELL_SECONDS = 1.0
# Between looking whether one was left by, or sent to, another gateway.
EVERY_SECONDS = 5.0
AGAIN = timedelta(seconds=5)
# An import that ends its gateway, or fails in a way that nobody foresaw, does so again.
ATTEMPTS_MAX = 5
_GAVE_UP = (
    f"It could not be imported in {ATTEMPTS_MAX} attempts, for a reason that only the server's log says. Nothing is left of it."
)


@dataclass(frozen=True)
class ImportWorker:
    """What imports need. `lease`: how long a gateway may be silent about one before another takes it up; `again`: after how long
    one that waits for a service is tried again."""

    db: Database
    storage: ObjectStorage
    requests: RequestClient
    limits: SizeLimits
    lease: timedelta = LEASE
    again: timedelta = AGAIN

    async def work(self) -> bool:
        """Takes the oldest one that waits as far as it gets now; False when there is none. Raises `DependencyUnavailable`."""
        holder = uuid4()
        async with self.db.transaction(Cause.new()) as tx:
            row = await import_repository.claim_import(tx.session, holder, self.lease)
        if row is None:
            return False
        if row.attempts > ATTEMPTS_MAX:
            await self._fail(row, holder, _GAVE_UP)
            return True
        log.info("an import is taken up", import_id=str(row.id), status=row.status, attempt=row.attempts)
        try:
            await self._work_on(row, holder)
        except asyncio.CancelledError:
            await self._put_back(row, holder, "the gateway stops", attempts=0, after=timedelta(0))
            raise
        except Exception as error:
            await self._end_without(row, holder, error)
        else:
            await self.storage.delete([row.object_key])
        return True

    async def _end_without(self, row: Import, holder: UUID, error: Exception) -> None:
        """It is not done: given up, or tried again."""
        match error:
            case LeaseLost():
                log.info("an import is left to others", import_id=str(row.id), reason=str(error))
                await self._forget_if_gone(row)
            case ArchiveRefused():
                await self._fail(row, holder, str(error))
            case DependencyUnavailable() | RequestFailed(code="unavailable" | "timeout"):
                await self._put_back(row, holder, error, attempts=0)
            case RequestFailed(code=code) if code != "internal":
                await self._fail(row, holder, f"A part of the archive was refused: {error}")
            case _:
                log.error("an import failed", import_id=str(row.id), exc_info=error)
                await self._put_back(row, holder, error, attempts=row.attempts)

    async def _work_on(self, row: Import, holder: UUID) -> None:
        progress = Progress()
        cause = Cause.new(str(row.user_id))
        run = WorkspaceImport(self.db, self.storage, self.requests, cause, row, holder, self.limits, progress)
        working = asyncio.create_task(run.run(), name="import")
        holding = asyncio.create_task(self._hold(row, holder, progress), name="hold import")
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise LeaseLost("The import is another gateway's, or gone.")
            await working
        finally:
            await cancel_all([working, holding])

    async def _hold(self, row: Import, holder: UUID, progress: Progress) -> None:
        """Ends when the import is not this gateway's any more."""
        lease = self.lease / timedelta(seconds=1)
        until = asyncio.get_running_loop().time() + lease
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(min(TELL_SECONDS, lease / 10))
            with contextlib.suppress(DependencyUnavailable):
                async with self.db.transaction(Cause.new()) as tx:
                    held = await import_repository.hold_longer(tx.session, row.id, holder, self.lease, steps_done=progress.done)
                if not held:
                    return
                until = asyncio.get_running_loop().time() + lease

    async def _put_back(
        self, row: Import, holder: UUID, reason: object, *, attempts: int, after: timedelta | None = None
    ) -> None:
        """It is taken up again when that may help, and counts as so many `attempts` until then."""
        log.info("an import waits", import_id=str(row.id), reason=str(reason))
        async with self.db.transaction(Cause.new()) as tx:
            values = {"held_until": datetime.now(UTC) + (self.again if after is None else after), "attempts": attempts}
            await import_repository.change_held(tx.session, row.id, holder, **values)

    async def _forget_if_gone(self, row: Import) -> None:
        """An import goes with its person; the archive is theirs, too."""
        async with self.db.read() as session:
            gone = await session.get(Import, row.id) is None
        if gone:
            await self.storage.delete([row.object_key])

    async def _fail(self, row: Import, holder: UUID, reason: str) -> None:
        """What was made is taken back, by every service; the archive goes, too."""
        values = {"status": ImportStatus.FAILED.value, "reason": reason, "finished_at": datetime.now(UTC), "workspace_id": None}

        async def fail() -> bool:
            async with self.db.transaction(Cause.new()) as tx:
                await erasure_repository.lock_erasures(tx.session)
                made = await import_repository.workspace_made_by(tx.session, row.id)
                # Before the erasure, which forgets the imports of a workspace.
                if not await import_repository.change_held(tx.session, row.id, holder, **values):
                    return False
                if made is not None:
                    await erase_workspace(tx, SYSTEM, made)
                return True

        if await one_after_the_other(fail):
            log.info("an import failed", import_id=str(row.id), reason=reason)
            await self.storage.delete([row.object_key])


async def import_for_ever(worker: ImportWorker, posted: asyncio.Event, *, every: float = EVERY_SECONDS) -> None:
    """Works on whatever waits, whenever something is `posted` here, and looks every so many seconds, until cancelled."""
    while True:
        posted.clear()
        try:
            while await worker.work():
                pass
        except DependencyUnavailable as error:
            log.info("imports wait", reason=str(error))
        except Exception:
            log.exception("imports wait")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await posted.wait()

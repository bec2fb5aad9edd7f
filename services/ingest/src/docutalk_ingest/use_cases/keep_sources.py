"""What sources need besides their runs: the server's clock set for the next one, and the documents of deleted ones deleted."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.use_cases.delete_document import delete_documents

log = get_logger(__name__)

POLL_SECONDS = 30.0
# The server fires within a second, and the firing is handled at once: whoever is this late was forgotten by the server.
OVERDUE = timedelta(minutes=2)
BATCH = 100


class SourceKeeper:
    """Runs until cancelled. Never raises: whatever is away, it waits for.

    The tables say what is to be; each round makes it so. A crash anywhere, or a server that lost its schedules, is mended by
    the next round. Several of them at once do the same twice, which does no harm.
    """

    def __init__(self, db: Database, schedules: Schedules, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._db = db
        self._schedules = schedules
        self._poll_seconds = poll_seconds
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something has changed; called after the commit."""
        self._wake.set()

    async def run(self) -> None:
        """The keeper's whole life."""
        while True:
            self._wake.clear()
            delay = self._poll_seconds
            try:
                await self.set_clock()
                while await self.delete_some():
                    pass
            except DependencyUnavailable as error:
                log.warning("sources wait for a server", reason=str(error))
                delay = min(delay, 2.0)
            except Exception:
                # A keeper that ended would leave every source without its next run, with nobody the wiser.
                log.exception("keeping sources failed and starts again")
                delay = min(delay, 5.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    async def set_clock(self, now: datetime | None = None) -> int:
        """Makes the server's clock agree with the table. Returns how many times were set."""
        before = (now or datetime.now(UTC)) - OVERDUE
        async with self._db.read() as session:
            appointments = await SourceRepository(session).to_set(overdue_before=before)
        for appointment in appointments:
            await self._schedules.set(appointment.workspace_id, appointment.source_id, appointment.at)
        if appointments:
            # Said afterwards: after a crash between the two they are set again, to the same time.
            async with self._db.transaction(Cause.new()) as transaction:
                unwanted = await SourceRepository(transaction.session).note_set(appointments)
            # Of a source that was paused or erased in the meantime nothing is left on the server.
            for appointment in unwanted:
                await self._schedules.cancel(appointment.workspace_id, [appointment.source_id])
        return len(appointments)

    async def delete_some(self) -> bool:
        """Deletes some documents of a source that was deleted with them; at last the source's row. False when there is none."""
        async with self._db.transaction(Cause.new()) as transaction:
            repository = SourceRepository(transaction.session)
            doomed = await repository.doomed_documents(BATCH)
            if doomed is None:
                return False
            workspace_id, source_id, deleted_by, document_ids = doomed
            if document_ids:
                locked = await DocumentRepository(transaction.session).lock_some(workspace_id, document_ids)
                await delete_documents(transaction, list(locked), deleted_by)
            else:
                await repository.remove(source_id)
        return True

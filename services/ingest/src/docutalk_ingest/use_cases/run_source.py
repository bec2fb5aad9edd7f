"""A source is to be collected: somebody says so, or the server's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from docutalk_common.contracts.ingest import CollectSource, RunSource, SourceDue, SourceRun
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.timetable import next_time


async def run_source(request: RunSource, cause: Cause, db: Database) -> SourceRun:
    """Raises `NotFound`, or `RequestFailed("conflict")` while a run is going on or the source is paused."""
    async with db.transaction(cause) as transaction:
        repository = SourceRepository(transaction.session)
        source = await repository.lock(request.source_id, request.workspace_id)
        if source is None:
            raise NotFound("There is no such source in this workspace.")
        if source.paused:
            raise RequestFailed("conflict", "The source is paused. Let it go on before you run it.")
        run = await repository.add_run(source, "manual")
        if run is None:
            raise RequestFailed("conflict", "A run of this source is going on. Wait for its end, or pause the source to stop it.")
        transaction.emit(CollectSource(workspace_id=source.workspace_id, source_id=source.source_id, run_id=run.run_id))
    return run


async def run_due_source(due: SourceDue, delivery: Delivery, wake: Callable[[], None]) -> None:
    """Starts a run and makes the next appointment. A time that is no longer the source's next one starts nothing, so that
    firings that were missed, repeated or overtaken by a change make one run together."""
    async with delivery.transaction() as transaction:
        repository = SourceRepository(transaction.session)
        source = await repository.lock(due.source_id)
        if source is None or source.paused or source.schedule is None or source.next_run_at != due.due_at:
            return
        await repository.change(source.source_id, next_run_at=next_time(source.schedule, datetime.now(UTC), source.next_run_at))
        run = await repository.add_run(source, "schedule")
        if run is not None:
            transaction.emit(CollectSource(workspace_id=source.workspace_id, source_id=source.source_id, run_id=run.run_id))
    wake()

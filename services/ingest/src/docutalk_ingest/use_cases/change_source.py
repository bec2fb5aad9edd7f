"""Somebody changes a source, pauses it, or lets it go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from docutalk_common.contracts.ingest import ChangeSource, Source, SourceRan
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.sources.kinds import config_as_stored, read_config
from docutalk_ingest.adapters.timetable import MIN_INTERVAL_SECONDS, check_schedule, next_time
from docutalk_ingest.use_cases.create_source import checked_name


async def change_source(
    request: ChangeSource,
    cause: Cause,
    db: Database,
    wake: Callable[[], None],
    *,
    min_interval: int = MIN_INTERVAL_SECONDS,
) -> Source:
    """The source afterwards. A new configuration counts from the next run on; a pause also ends a run that is going on.

    Raises `NotFound`, or `RequestFailed("invalid")` with what is wrong.
    """
    async with db.transaction(cause) as transaction:
        repository = SourceRepository(transaction.session)
        source = await repository.lock(request.source_id, request.workspace_id)
        if source is None:
            raise NotFound("There is no such source in this workspace.")
        values = _changes(request, source, min_interval)
        if values:
            await repository.change(source.source_id, **values)
        if source.paused is False and values.get("paused"):
            run = await repository.cancel_run(source.source_id, "The source was paused.")
            if run is not None:
                transaction.emit(SourceRan(workspace_id=source.workspace_id, source_id=source.source_id, run=run))
        changed = await repository.get(request.workspace_id, request.source_id)
        assert changed is not None, "the row is locked"
    wake()
    return changed


def _changes(request: ChangeSource, source: Source, min_interval: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    schedule, paused = source.schedule, source.paused
    if "name" in request.fields:
        values["name"] = checked_name(request.name or "")
    if "config" in request.fields:
        values["config"] = config_as_stored(read_config(source.kind, request.config or {}))
        # What was said of the old list says nothing of the new one.
        values |= {"etag": None, "last_modified": None, "listed": 0}
    if "schedule" in request.fields:
        schedule = request.schedule
        if schedule is not None:
            check_schedule(schedule, min_interval=min_interval)
        values["schedule"] = schedule.model_dump(mode="json") if schedule else None
    if "paused" in request.fields:
        if request.paused is None:
            raise RequestFailed("invalid", "`paused` is true or false.")
        values["paused"] = paused = request.paused
    if schedule != source.schedule or paused != source.paused:
        values["next_run_at"] = next_time(schedule, datetime.now(UTC)) if schedule is not None and not paused else None
    return values

"""Somebody adds a source: it runs at once, and then by its schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from docutalk_common.contracts.ingest import CollectSource, CreateSource, Source
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.sources.kinds import config_as_stored, read_config
from docutalk_ingest.adapters.timetable import MIN_INTERVAL_SECONDS, check_schedule, next_time
from docutalk_ingest.domain import freeze

MAX_NAME = 200


async def create_source(
    request: CreateSource,
    cause: Cause,
    db: Database,
    wake: Callable[[], None],
    *,
    min_interval: int = MIN_INTERVAL_SECONDS,
) -> Source:
    """Raises `RequestFailed`: `invalid` with what is wrong, `conflict` when the id is taken, `not_found` when the workspace is
    gone."""
    request = request.model_copy(update={"name": checked_name(request.name)})
    config = config_as_stored(read_config(request.kind, request.config))
    next_run_at = None
    if request.schedule is not None:
        check_schedule(request.schedule, min_interval=min_interval)
        next_run_at = next_time(request.schedule, datetime.now(UTC))
    async with db.transaction(cause) as transaction:
        repository = SourceRepository(transaction.session)
        if not await repository.add(request, config, next_run_at):
            raise RequestFailed("conflict", "There is a source with this id already.")
        source = await repository.lock(request.source_id)
        assert source is not None, "just added"
        run = await repository.add_run(source, "created")
        assert run is not None, "a new source has no other run"
        transaction.emit(CollectSource(workspace_id=source.workspace_id, source_id=source.source_id, run_id=run.run_id))
    wake()
    return source.model_copy(update={"last_run": run})


def checked_name(name: str) -> str:
    """The name as it is kept. Raises `RequestFailed("invalid")`."""
    name = " ".join(freeze(name).split())
    if not 1 <= len(name) <= MAX_NAME:
        raise RequestFailed("invalid", f"A source's name has 1 to {MAX_NAME} characters.")
    return name

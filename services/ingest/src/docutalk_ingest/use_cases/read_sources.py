"""What sources are there, and how did they run?"""

from __future__ import annotations

from typing import Any

from docutalk_common.contracts.ingest import GetSource, ListRuns, ListSources, RunList, Source, SourceList
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.source_repository import SourceRepository

MAX_PER_PAGE = 100
SHOWN_CHARACTERS = 300
SHOWN_ENTRIES = 20


async def list_sources(request: ListSources, db: Database) -> SourceList:
    """Newest first. Of long configurations the beginning: a dozen texts are more than a message holds; `get_source` has all."""
    async with db.read() as session:
        items, total = await SourceRepository(session).find(
            request.workspace_id, page=max(1, request.page), per_page=min(max(1, request.per_page), MAX_PER_PAGE)
        )
    short = [
        item.model_copy(update={"config": {name: _beginning(value) for name, value in item.config.items()}}) for item in items
    ]
    return SourceList(items=short, total=total)


def _beginning(value: Any) -> Any:
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return f"{value[:SHOWN_CHARACTERS]}…"
    if isinstance(value, list):
        return [_beginning(entry) for entry in value[:SHOWN_ENTRIES]]
    return value


async def get_source(request: GetSource, db: Database) -> Source:
    """Raises `NotFound`."""
    async with db.read() as session:
        source = await SourceRepository(session).get(request.workspace_id, request.source_id)
    if source is None:
        raise NotFound("There is no such source in this workspace.")
    return source


async def list_runs(request: ListRuns, db: Database) -> RunList:
    """Newest first. Raises `NotFound` when there is no such source."""
    async with db.read() as session:
        repository = SourceRepository(session)
        if await repository.get(request.workspace_id, request.source_id) is None:
            raise NotFound("There is no such source in this workspace.")
        items, total = await repository.runs(
            request.source_id, page=max(1, request.page), per_page=min(max(1, request.per_page), MAX_PER_PAGE)
        )
    return RunList(items=items, total=total)

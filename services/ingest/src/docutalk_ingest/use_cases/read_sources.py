"""What sources are there, and how did they run?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import GetSource, ListRuns, ListSources, RunList, Source, SourceList
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.source_repository import SourceRepository

MAX_PER_PAGE = 100


async def list_sources(request: ListSources, db: Database) -> SourceList:
    """Newest first."""
    async with db.read() as session:
        items, total = await SourceRepository(session).find(
            request.workspace_id, page=max(1, request.page), per_page=min(max(1, request.per_page), MAX_PER_PAGE)
        )
    return SourceList(items=items, total=total)


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

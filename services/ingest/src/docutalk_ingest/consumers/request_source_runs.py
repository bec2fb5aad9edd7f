"""How did a source run?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ListRuns, RunList
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.read_sources import list_runs


def request_source_runs(db: Database) -> Callable[[ListRuns, Cause], Awaitable[RunList]]:
    """The answerer of `rpc.ingest.v1.source.runs`."""

    async def answer(request: ListRuns, _cause: Cause) -> RunList:
        return await list_runs(request, db)

    return answer

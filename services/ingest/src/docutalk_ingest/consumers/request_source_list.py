"""Which sources does a workspace have?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ListSources, SourceList
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.read_sources import list_sources


def request_source_list(db: Database) -> Callable[[ListSources, Cause], Awaitable[SourceList]]:
    """The answerer of `rpc.ingest.v1.source.list`."""

    async def answer(request: ListSources, _cause: Cause) -> SourceList:
        return await list_sources(request, db)

    return answer

"""How is one source?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import GetSource, Source
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.read_sources import get_source


def request_source_get(db: Database) -> Callable[[GetSource, Cause], Awaitable[Source]]:
    """The answerer of `rpc.ingest.v1.source.get`."""

    async def answer(request: GetSource, _cause: Cause) -> Source:
        return await get_source(request, db)

    return answer

"""Somebody deletes a source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import DeleteSource, SourceRemoved
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.delete_source import delete_source


def request_source_delete(db: Database, wake: Callable[[], None]) -> Callable[[DeleteSource, Cause], Awaitable[SourceRemoved]]:
    """The answerer of `rpc.ingest.v1.source.delete`."""

    async def answer(request: DeleteSource, cause: Cause) -> SourceRemoved:
        return await delete_source(request, cause, db, wake)

    return answer

"""Somebody adds a source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import CreateSource, Source
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.create_source import create_source


def request_source_create(
    db: Database, wake: Callable[[], None], min_interval: int
) -> Callable[[CreateSource, Cause], Awaitable[Source]]:
    """The answerer of `rpc.ingest.v1.source.create`."""

    async def answer(request: CreateSource, cause: Cause) -> Source:
        return await create_source(request, cause, db, wake, min_interval=min_interval)

    return answer

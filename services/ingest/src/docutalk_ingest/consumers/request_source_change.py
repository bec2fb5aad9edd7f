"""Somebody changes a source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ChangeSource, Source
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.change_source import change_source


def request_source_change(
    db: Database, wake: Callable[[], None], min_interval: int
) -> Callable[[ChangeSource, Cause], Awaitable[Source]]:
    """The answerer of `rpc.ingest.v1.source.change`."""

    async def answer(request: ChangeSource, cause: Cause) -> Source:
        return await change_source(request, cause, db, wake, min_interval=min_interval)

    return answer

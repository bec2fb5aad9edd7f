"""Somebody wants a source collected now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import RunSource, SourceRun
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.run_source import run_source


def request_source_run(db: Database) -> Callable[[RunSource, Cause], Awaitable[SourceRun]]:
    """The answerer of `rpc.ingest.v1.source.run`."""

    async def answer(request: RunSource, cause: Cause) -> SourceRun:
        return await run_source(request, cause, db)

    return answer

"""How far is a workspace as a whole?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import GetProgress, WorkspaceProgress
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.get_progress import get_progress


def request_progress_get(db: Database, slots: int) -> Callable[[GetProgress, Cause], Awaitable[WorkspaceProgress]]:
    """The answerer of `rpc.ingest.v1.progress.get`."""

    async def answer(request: GetProgress, _cause: Cause) -> WorkspaceProgress:
        return await get_progress(request, db, slots=slots)

    return answer

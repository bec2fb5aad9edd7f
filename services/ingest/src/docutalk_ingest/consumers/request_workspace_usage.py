"""How much does a workspace take?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import GetUsage, WorkspaceUsage
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.get_usage import get_usage


def request_workspace_usage(db: Database) -> Callable[[GetUsage, Cause], Awaitable[WorkspaceUsage]]:
    """The answerer of `rpc.ingest.v1.workspace.usage`."""

    async def answer(request: GetUsage, _cause: Cause) -> WorkspaceUsage:
        return await get_usage(request, db)

    return answer

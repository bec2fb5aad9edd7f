"""May documents be added to a workspace, and how many?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.gateway import GetWorkspace, WorkspaceState
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import member_repository, quota_repository, repository
from docutalk_gateway.domain import Limits


def request_workspace_get(db: Database, defaults: Limits) -> Callable[[GetWorkspace, Cause], Awaitable[WorkspaceState]]:
    """The answerer of `rpc.gateway.v1.workspace.get`. `defaults` hold where a workspace has no limits of its own."""

    async def answer(request: GetWorkspace, _cause: Cause) -> WorkspaceState:
        async with db.read() as session:
            workspace = await repository.workspace_by_id(session, request.workspace_id)
            is_seen = await member_repository.has_members(session, request.workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        limits = quota_repository.limits_of(workspace, defaults)
        # While it is imported, its sources bring nothing: what they brought before may not be there yet.
        return WorkspaceState(
            archived=workspace.archived_at is not None or not is_seen,
            max_documents=limits.max_documents,
            max_bytes=limits.max_bytes,
        )

    return answer

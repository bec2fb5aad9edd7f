"""What the gateway says of a workspace."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.gateway import GetWorkspace, WorkspaceState
from docutalk_common.db import Cause
from docutalk_common.errors import NotFound, RequestFailed, TransientError
from docutalk_common.messaging.requests import RequestClient


class Workspaces:
    """Asks the gateway."""

    def __init__(self, requests: RequestClient) -> None:
        self._requests = requests

    async def state(self, workspace_id: UUID, cause: Cause) -> WorkspaceState | None:
        """None when there is no such workspace any more. Raises `TransientError` when the gateway does not say."""
        question = GetWorkspace(workspace_id=workspace_id)
        try:
            return await self._requests.ask("rpc.gateway.v1.workspace.get", question, WorkspaceState, cause=cause)
        except NotFound:
            return None
        except RequestFailed as failure:
            raise TransientError(f"The gateway did not say whether documents may be added: {failure}") from failure

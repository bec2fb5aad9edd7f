"""A workspace was deleted: what is held of it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.erase_workspace import WorkspaceEraser


def gateway_workspace_deleted(erase: WorkspaceEraser) -> Callable[[WorkspaceDeleted, Delivery], Awaitable[None]]:
    """The handler of `ingest-workspace-deleted`."""

    async def handle(event: WorkspaceDeleted, delivery: Delivery) -> None:
        await erase(event, delivery)

    return handle

"""A workspace is gone from the gateway."""

from __future__ import annotations

from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.use_cases.erase_workspace import erase_workspace


async def gateway_workspace_deleted(event: WorkspaceDeleted, delivery: Delivery) -> None:
    """The handler of `embed-workspace-deleted`."""
    await erase_workspace(event, delivery)

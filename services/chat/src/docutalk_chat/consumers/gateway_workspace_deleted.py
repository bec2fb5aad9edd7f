"""`gateway.workspace.deleted`: a workspace is gone."""

from __future__ import annotations

from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.use_cases.erase_workspace import erase_workspace


def register(broker: MessageBroker) -> None:
    """Durable `chat-workspace-deleted`."""

    async def handle(event: WorkspaceDeleted, delivery: Delivery) -> None:
        await erase_workspace(event, delivery)

    broker.consume("chat-workspace-deleted", handle)

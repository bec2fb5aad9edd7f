"""`gateway.user.deleted`: an account is gone."""

from __future__ import annotations

from docutalk_common.contracts.gateway import UserDeleted
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.use_cases.erase_user import erase_user


def register(broker: MessageBroker) -> None:
    """Durable `chat-user-deleted`."""

    async def handle(event: UserDeleted, delivery: Delivery) -> None:
        await erase_user(event, delivery)

    broker.consume("chat-user-deleted", handle)

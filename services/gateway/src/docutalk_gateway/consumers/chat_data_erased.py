"""`chat.data.erased`: what chat removed of a workspace or a user."""

from __future__ import annotations

import asyncio

from docutalk_common.contracts.chat import DataErased
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_gateway.adapters.log_purge import LogPurge
from docutalk_gateway.use_cases.store_receipt import store_receipt


def subscribe(broker: MessageBroker, purge: LogPurge, stored: asyncio.Event) -> None:
    """Registers the consumer."""

    async def on_data_erased(receipt: DataErased, delivery: Delivery) -> None:
        await store_receipt(delivery, "chat", receipt, purge, stored)

    broker.consume("gateway-chat-erased", on_data_erased)

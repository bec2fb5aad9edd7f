"""`rpc.chat.v1.model.list`: which models can answer."""

from __future__ import annotations

from docutalk_common.contracts.chat import ChatModels, ListChatModels
from docutalk_common.db import Cause
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.adapters.answerers import Answerers


def register(broker: MessageBroker, answerers: Answerers) -> None:
    """Answers with `ChatModels`."""

    async def answer(_request: ListChatModels, _cause: Cause) -> ChatModels:
        return await answerers.models()

    broker.answer("rpc.chat.v1.model.list", answer)

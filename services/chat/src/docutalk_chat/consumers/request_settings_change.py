"""`rpc.chat.v1.settings.change`: how a workspace's questions are answered from now on."""

from __future__ import annotations

from docutalk_common.contracts.chat import ChangeChatSettings, ChatSettings
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.adapters.answerers import Answerers
from docutalk_chat.use_cases.change_chat_settings import change_chat_settings


def register(broker: MessageBroker, db: Database, answerers: Answerers) -> None:
    """Answers with `ChatSettings`."""

    async def answer(request: ChangeChatSettings, cause: Cause) -> ChatSettings:
        return await change_chat_settings(db, answerers, request, cause)

    broker.answer("rpc.chat.v1.settings.change", answer)

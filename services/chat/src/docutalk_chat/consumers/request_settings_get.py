"""`rpc.chat.v1.settings.get`: how a workspace's questions are answered."""

from __future__ import annotations

from docutalk_common.contracts.chat import ChatSettings, GetChatSettings
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.get_chat_settings import get_chat_settings


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `ChatSettings`."""

    async def answer(request: GetChatSettings, cause: Cause) -> ChatSettings:
        return await get_chat_settings(db, request)

    broker.answer("rpc.chat.v1.settings.get", answer)

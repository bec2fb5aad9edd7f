"""`rpc.chat.v1.message.list`: the history of a session."""

from __future__ import annotations

from docutalk_common.contracts.chat import ListMessages, MessageList
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.list_messages import list_messages


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `MessageList`."""

    async def answer(request: ListMessages, cause: Cause) -> MessageList:
        return await list_messages(db, request)

    broker.answer("rpc.chat.v1.message.list", answer)

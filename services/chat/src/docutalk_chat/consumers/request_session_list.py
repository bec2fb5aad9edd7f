"""`rpc.chat.v1.session.list`: a user's sessions."""

from __future__ import annotations

from docutalk_common.contracts.chat import ListSessions, SessionList
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.list_sessions import list_sessions


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `SessionList`."""

    async def answer(request: ListSessions, cause: Cause) -> SessionList:
        return await list_sessions(db, request)

    broker.answer("rpc.chat.v1.session.list", answer)

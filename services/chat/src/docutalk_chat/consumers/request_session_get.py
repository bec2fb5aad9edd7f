"""`rpc.chat.v1.session.get`: a session."""

from __future__ import annotations

from docutalk_common.contracts.chat import GetSession, Session
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.get_session import get_session


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `Session`."""

    async def answer(request: GetSession, cause: Cause) -> Session:
        return await get_session(db, request)

    broker.answer("rpc.chat.v1.session.get", answer)

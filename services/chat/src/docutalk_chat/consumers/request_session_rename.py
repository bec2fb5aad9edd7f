"""`rpc.chat.v1.session.rename`: a session's title."""

from __future__ import annotations

from docutalk_common.contracts.chat import RenameSession, Session
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.rename_session import rename_session


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `Session`."""

    async def answer(request: RenameSession, cause: Cause) -> Session:
        return await rename_session(db, request, cause)

    broker.answer("rpc.chat.v1.session.rename", answer)

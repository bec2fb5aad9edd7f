"""`rpc.chat.v1.session.delete`: forget a session."""

from __future__ import annotations

from docutalk_common.contracts.chat import DeleteSession, SessionDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.delete_session import delete_session


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `SessionDeleted`."""

    async def answer(request: DeleteSession, cause: Cause) -> SessionDeleted:
        return await delete_session(db, request, cause)

    broker.answer("rpc.chat.v1.session.delete", answer)

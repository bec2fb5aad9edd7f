"""`rpc.chat.v1.session.import`: conversations that come from elsewhere."""

from __future__ import annotations

from docutalk_common.contracts.chat import ImportSessions, SessionsImported
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.import_sessions import import_sessions


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `SessionsImported`."""

    async def answer(request: ImportSessions, cause: Cause) -> SessionsImported:
        return await import_sessions(db, request, cause)

    broker.answer("rpc.chat.v1.session.import", answer)

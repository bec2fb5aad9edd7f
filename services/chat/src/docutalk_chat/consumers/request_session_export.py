"""`rpc.chat.v1.session.export`: a user's conversations, to be carried elsewhere."""

from __future__ import annotations

from docutalk_common.contracts.chat import ExportedSessions, ExportSessions
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.export_sessions import export_sessions


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `ExportedSessions`."""

    async def answer(request: ExportSessions, cause: Cause) -> ExportedSessions:
        return await export_sessions(db, request)

    broker.answer("rpc.chat.v1.session.export", answer)

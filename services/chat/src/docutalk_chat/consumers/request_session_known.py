"""`rpc.chat.v1.session.known`: which ids are taken."""

from __future__ import annotations

from docutalk_common.contracts.chat import KnownSessions, SessionsKnown
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.known_sessions import known_sessions


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `SessionsKnown`."""

    async def answer(request: KnownSessions, cause: Cause) -> SessionsKnown:
        return await known_sessions(db, request)

    broker.answer("rpc.chat.v1.session.known", answer)

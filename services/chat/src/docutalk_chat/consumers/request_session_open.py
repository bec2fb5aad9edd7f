"""`rpc.chat.v1.session.open`: the session to post into."""

from __future__ import annotations

from docutalk_common.contracts.chat import OpenSession, SessionOpened
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.open_session import open_session


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `SessionOpened`."""

    async def answer(request: OpenSession, cause: Cause) -> SessionOpened:
        return await open_session(db, request, cause)

    broker.answer("rpc.chat.v1.session.open", answer)

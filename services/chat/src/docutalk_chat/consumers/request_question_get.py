"""`rpc.chat.v1.question.get`: what was asked."""

from __future__ import annotations

from docutalk_common.contracts.chat import GetQuestion, Question
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.get_question import get_question


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `Question`."""

    async def answer(request: GetQuestion, cause: Cause) -> Question:
        return await get_question(db, request)

    broker.answer("rpc.chat.v1.question.get", answer)

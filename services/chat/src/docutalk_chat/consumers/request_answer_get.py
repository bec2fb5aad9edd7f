"""`rpc.chat.v1.answer.get`: an answer as it is stored."""

from __future__ import annotations

from docutalk_common.contracts.chat import AnswerState, GetAnswer
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.get_answer import get_answer


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `AnswerState`."""

    async def answer(request: GetAnswer, cause: Cause) -> AnswerState:
        return await get_answer(db, request)

    broker.answer("rpc.chat.v1.answer.get", answer)

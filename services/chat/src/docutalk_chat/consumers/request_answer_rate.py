"""`rpc.chat.v1.answer.rate`: what a person thinks of an answer."""

from __future__ import annotations

from docutalk_common.contracts.chat import AnswerRated, RateAnswer
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.use_cases.rate_answer import rate_answer


def register(broker: MessageBroker, db: Database) -> None:
    """Answers with `AnswerRated`."""

    async def answer(request: RateAnswer, cause: Cause) -> AnswerRated:
        return await rate_answer(db, request, cause)

    broker.answer("rpc.chat.v1.answer.rate", answer)

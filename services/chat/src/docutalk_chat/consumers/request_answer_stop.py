"""`rpc.chat.v1.answer.stop`: somebody does not want an answer to go on."""

from __future__ import annotations

from docutalk_common.contracts.chat import AnswerState, StopAnswer
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.broker import MessageBroker

from docutalk_chat.adapters.stop_watch import StopWatch
from docutalk_chat.use_cases.stop_answer import stop_answer


def register(broker: MessageBroker, db: Database, stops: StopWatch) -> None:
    """Answers with `AnswerState`, as it stood before."""

    async def answer(request: StopAnswer, cause: Cause) -> AnswerState:
        return await stop_answer(db, stops, request, cause)

    broker.answer("rpc.chat.v1.answer.stop", answer)

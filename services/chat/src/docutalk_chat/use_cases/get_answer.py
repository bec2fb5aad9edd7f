"""Says how an answer stands."""

from __future__ import annotations

from docutalk_common.contracts.chat import AnswerState, GetAnswer
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import repository


async def get_answer(db: Database, request: GetAnswer) -> AnswerState:
    """The answer, its failure, or neither while it is being made. Raises `NotFound`, also before the message was taken up."""
    async with db.read() as session:
        state = await repository.find_answer(session, request.workspace_id, request.user_id, request.answer_id)
    if state is None:
        raise NotFound("there is no such answer")
    return state

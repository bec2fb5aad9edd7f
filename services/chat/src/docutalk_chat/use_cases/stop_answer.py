"""Ends an answer where it is, wherever it is being made."""

from __future__ import annotations

from docutalk_common.contracts.chat import AnswerState, StopAnswer
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import repository, session_repository
from docutalk_chat.adapters.stop_watch import StopWatch


async def stop_answer(db: Database, stops: StopWatch, request: StopAnswer, cause: Cause) -> AnswerState:
    """How the answer stands. Its message may not have come here yet: the wish is kept for it.

    Raises `NotFound` for a session that is not this user's, and for an answer of another session."""
    async with db.transaction(cause) as transaction:
        db_session = transaction.session
        if not await session_repository.has_session(db_session, request.workspace_id, request.user_id, request.session_id):
            raise NotFound("there is no such chat session")
        if not await repository.request_stop(db_session, request.answer_id, request.session_id):
            raise NotFound("there is no such answer in this chat session")
        state = await repository.find_answer(db_session, request.workspace_id, request.user_id, request.answer_id)
    stops.stop(request.answer_id)
    return state or AnswerState()

"""Stores what a person thinks of an answer."""

from __future__ import annotations

from docutalk_common.contracts.chat import AnswerRated, RateAnswer
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_chat.adapters import session_repository
from docutalk_chat.domain.answers import without_nul


async def rate_answer(db: Database, request: RateAnswer, cause: Cause) -> AnswerRated:
    """The last rating counts. Raises `NotFound`, also for an answer that is not complete, and `RequestFailed("invalid")`."""
    if request.rating not in {None, 1, -1}:
        raise RequestFailed("invalid", "a rating is 1, -1, or none")
    comment = without_nul(request.comment) if request.comment and request.rating is not None else None
    async with db.transaction(cause) as transaction:
        rated = await session_repository.rate_answer(
            transaction.session,
            request.workspace_id,
            request.user_id,
            request.session_id,
            request.answer_id,
            rating=request.rating,
            comment=comment,
        )
    if not rated:
        raise NotFound("there is no such answer in this chat session")
    return AnswerRated(answer_id=request.answer_id, rating=request.rating, comment=comment)

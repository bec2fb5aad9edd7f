"""Says what was asked, so that it can be answered again."""

from __future__ import annotations

from docutalk_common.contracts.chat import GetQuestion, Question
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import session_repository


async def get_question(db: Database, request: GetQuestion) -> Question:
    """The question itself, or the one that an answer answers. Raises `NotFound`."""
    async with db.read() as session:
        found = await session_repository.find_question(
            session, request.workspace_id, request.user_id, request.session_id, request.message_id
        )
    if found is None:
        raise NotFound("there is no such message in this chat session")
    return found

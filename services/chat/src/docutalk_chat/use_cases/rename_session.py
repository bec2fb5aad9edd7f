"""Gives a session another title."""

from __future__ import annotations

from docutalk_common.contracts.chat import RenameSession, Session
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_chat.adapters import session_repository
from docutalk_chat.domain.answers import LONGEST_TITLE, without_nul


async def rename_session(db: Database, request: RenameSession, cause: Cause) -> Session:
    """Raises `NotFound`, and `RequestFailed("invalid")` for a title that says nothing."""
    title = " ".join(without_nul(request.title).split())[:LONGEST_TITLE]
    if not title:
        raise RequestFailed("invalid", "a title needs at least one letter")
    ids = (request.workspace_id, request.user_id, request.session_id)
    async with db.transaction(cause) as transaction:
        if not await session_repository.rename_session(transaction.session, *ids, title):
            raise NotFound("there is no such chat session")
        found = await session_repository.find_session(transaction.session, *ids)
    assert found is not None
    return found

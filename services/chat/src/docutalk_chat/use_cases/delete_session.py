"""Deletes a session with its messages, answers and citations."""

from __future__ import annotations

from docutalk_common.contracts.chat import DeleteSession, SessionDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import session_repository


async def delete_session(db: Database, request: DeleteSession, cause: Cause) -> SessionDeleted:
    """Raises `NotFound`. An answer that is being made for it ends with an error frame and is not stored."""
    async with db.transaction(cause) as transaction:
        if not await session_repository.delete_session(
            transaction.session, request.workspace_id, request.user_id, request.session_id
        ):
            raise NotFound("there is no such chat session")
    return SessionDeleted(session_id=request.session_id)

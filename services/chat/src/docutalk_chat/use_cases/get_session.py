"""Says what a session is called and when it was used."""

from __future__ import annotations

from docutalk_common.contracts.chat import GetSession, Session
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import session_repository


async def get_session(db: Database, request: GetSession) -> Session:
    """Raises `NotFound`."""
    async with db.read() as session:
        found = await session_repository.find_session(session, request.workspace_id, request.user_id, request.session_id)
    if found is None:
        raise NotFound("there is no such chat session")
    return found

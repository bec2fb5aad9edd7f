"""Lists a user's sessions in a workspace."""

from __future__ import annotations

from docutalk_common.contracts.chat import ListSessions, SessionList
from docutalk_common.db import Database

from docutalk_chat.adapters import repository

MOST_PER_PAGE = 200


async def list_sessions(db: Database, request: ListSessions) -> SessionList:
    """One page, the last used first."""
    async with db.read() as session:
        return await repository.list_sessions(
            session,
            request.workspace_id,
            request.user_id,
            page=max(request.page, 1),
            per_page=min(max(request.per_page, 1), MOST_PER_PAGE),
        )

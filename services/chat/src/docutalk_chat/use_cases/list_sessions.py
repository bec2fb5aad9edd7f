"""Lists a user's sessions in a workspace, or those in which something was said."""

from __future__ import annotations

from docutalk_common.contracts.chat import ListSessions, SessionList
from docutalk_common.db import Database

from docutalk_chat.adapters import session_repository
from docutalk_chat.domain.answers import without_nul

MOST_PER_PAGE = 200


async def list_sessions(db: Database, request: ListSessions) -> SessionList:
    """One page, the last used first. A search for nothing is none."""
    page, per_page = max(request.page, 1), min(max(request.per_page, 1), MOST_PER_PAGE)
    words = without_nul(request.q or "").strip()
    async with db.read() as session:
        if words:
            return await session_repository.search_sessions(
                session, request.workspace_id, request.user_id, words, page=page, per_page=per_page
            )
        return await session_repository.list_sessions(
            session, request.workspace_id, request.user_id, page=page, per_page=per_page
        )

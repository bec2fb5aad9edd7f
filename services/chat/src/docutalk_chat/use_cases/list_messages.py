"""Lists what was said in a session."""

from __future__ import annotations

from docutalk_common.contracts.chat import ListMessages, MessageList
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import session_repository


async def list_messages(db: Database, request: ListMessages) -> MessageList:
    """A part of the history, or all of it, each question followed by its answers. Raises `NotFound`."""
    async with db.read() as session:
        found = await session_repository.list_messages(
            session,
            request.workspace_id,
            request.user_id,
            request.session_id,
            offset=max(request.offset, 0),
            limit=None if request.limit is None else max(request.limit, 1),
        )
    if found is None:
        raise NotFound("there is no such chat session")
    items, total = found
    return MessageList(items=items, total=total)

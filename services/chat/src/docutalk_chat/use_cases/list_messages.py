"""Lists what was said in a session."""

from __future__ import annotations

from docutalk_common.contracts.chat import ListMessages, MessageList
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import repository


async def list_messages(db: Database, request: ListMessages) -> MessageList:
    """The whole history, oldest first. Raises `NotFound`."""
    async with db.read() as session:
        found = await repository.list_messages(session, request.workspace_id, request.user_id, request.session_id)
    if found is None:
        raise NotFound("there is no such chat session")
    return MessageList(items=found)

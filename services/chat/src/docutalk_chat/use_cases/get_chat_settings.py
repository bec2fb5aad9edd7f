"""Says how a workspace's questions are answered."""

from __future__ import annotations

from docutalk_common.contracts.chat import ChatSettings, GetChatSettings
from docutalk_common.db import Database

from docutalk_chat.adapters import repository


async def get_chat_settings(db: Database, request: GetChatSettings) -> ChatSettings:
    """The settings, empty for a workspace that chose none."""
    async with db.read() as session:
        return await repository.chat_settings(session, request.workspace_id)

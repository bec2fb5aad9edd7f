"""Which changes of model there were, and how far the one that is open has come."""

from __future__ import annotations

from docutalk_common.contracts.embed import ListChanges, ModelChanges
from docutalk_common.db import Database

from docutalk_embed.adapters import model_changes


async def list_changes(_request: ListChanges, db: Database) -> ModelChanges:
    """Newest first. The figures of the open one are brought up to date every second or so while vectors are computed."""
    async with db.read() as session:
        return ModelChanges(items=await model_changes.list_changes(session))

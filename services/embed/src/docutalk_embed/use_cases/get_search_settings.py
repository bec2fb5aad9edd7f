"""Say how a workspace's searches rank."""

from __future__ import annotations

from docutalk_common.contracts.embed import GetSearchSettings, SearchSettings
from docutalk_common.db import Database

from docutalk_embed.adapters.search_settings import find_semantic_weight
from docutalk_embed.domain.ranking import SEMANTIC_WEIGHT


async def get_search_settings(request: GetSearchSettings, db: Database) -> SearchSettings:
    """Those of the release where the workspace has none of its own."""
    async with db.read() as session:
        weight = await find_semantic_weight(session, request.workspace_id)
    return SearchSettings(semantic_weight=SEMANTIC_WEIGHT if weight is None else weight, is_default=weight is None)

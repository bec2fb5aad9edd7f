"""Change how a workspace's searches rank, from the next one on."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChangeSearchSettings, GetSearchSettings, SearchSettings
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_embed.adapters.erasure_repository import may_store
from docutalk_embed.adapters.search_settings import set_semantic_weight
from docutalk_embed.use_cases.get_search_settings import get_search_settings


async def change_search_settings(request: ChangeSearchSettings, db: Database, cause: Cause) -> SearchSettings:
    """Raises `RequestFailed` (`invalid`) for a weight outside of 0…1, and `NotFound` for a workspace that was deleted."""
    weight = request.semantic_weight
    if weight is not None and not 0 <= weight <= 1:
        raise RequestFailed("invalid", f"The semantic weight is {weight:g}; it may be 0 (words only) to 1 (meaning only).")
    async with db.transaction(cause) as transaction:
        if not await may_store(transaction.session, request.workspace_id):
            raise NotFound("the workspace was deleted")
        await set_semantic_weight(transaction, request.workspace_id, weight)
    return await get_search_settings(GetSearchSettings(workspace_id=request.workspace_id), db)

"""How do this workspace's searches rank?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import GetSearchSettings, SearchSettings
from docutalk_common.db import Cause, Database

from docutalk_embed.use_cases.get_search_settings import get_search_settings


def request_settings_get(db: Database) -> Callable[[GetSearchSettings, Cause], Awaitable[SearchSettings]]:
    """The answerer of `rpc.embed.v1.settings.get`."""

    async def answer(request: GetSearchSettings, _cause: Cause) -> SearchSettings:
        return await get_search_settings(request, db)

    return answer

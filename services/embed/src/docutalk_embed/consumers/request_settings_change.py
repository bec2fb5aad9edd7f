"""Rank otherwise from now on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ChangeSearchSettings, SearchSettings
from docutalk_common.db import Cause, Database

from docutalk_embed.use_cases.change_search_settings import change_search_settings


def request_settings_change(db: Database) -> Callable[[ChangeSearchSettings, Cause], Awaitable[SearchSettings]]:
    """The answerer of `rpc.embed.v1.settings.change`."""

    async def answer(request: ChangeSearchSettings, cause: Cause) -> SearchSettings:
        return await change_search_settings(request, db, cause)

    return answer

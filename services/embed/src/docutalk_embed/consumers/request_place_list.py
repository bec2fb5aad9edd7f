"""Which places are named, and where?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ListPlaces, Places
from docutalk_common.db import Cause, Database

from docutalk_embed.use_cases.list_places import list_places


def request_place_list(db: Database) -> Callable[[ListPlaces, Cause], Awaitable[Places]]:
    """The answerer of `rpc.embed.v1.place.list`."""

    async def answer(request: ListPlaces, _cause: Cause) -> Places:
        return await list_places(request, db)

    return answer

"""How far is the change of model?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ListChanges, ModelChanges
from docutalk_common.db import Cause, Database

from docutalk_embed.use_cases.list_changes import list_changes


def request_change_list(db: Database) -> Callable[[ListChanges, Cause], Awaitable[ModelChanges]]:
    """The answerer of `rpc.embed.v1.change.list`."""

    async def answer(request: ListChanges, _cause: Cause) -> ModelChanges:
        return await list_changes(request, db)

    return answer

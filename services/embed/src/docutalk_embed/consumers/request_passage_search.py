"""Which passages answer a query?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import PassagesFound, SearchPassages
from docutalk_common.db import Cause, Database

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.search_passages import search_passages


def request_passage_search(db: Database, registry: ModelRegistry) -> Callable[[SearchPassages, Cause], Awaitable[PassagesFound]]:
    """The answerer of `rpc.embed.v1.passage.search`."""

    async def answer(request: SearchPassages, _cause: Cause) -> PassagesFound:
        return await search_passages(request, db, registry)

    return answer

"""What would the other model find?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ComparePassages, Comparison
from docutalk_common.db import Cause, Database

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.compare_passages import compare_passages


def request_passage_compare(db: Database, registry: ModelRegistry) -> Callable[[ComparePassages, Cause], Awaitable[Comparison]]:
    """The answerer of `rpc.embed.v1.passage.compare`."""

    async def answer(request: ComparePassages, _cause: Cause) -> Comparison:
        return await compare_passages(request, db, registry)

    return answer

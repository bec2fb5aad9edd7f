"""Which models are known here?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ListModels, Models
from docutalk_common.db import Cause, Database

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.list_models import list_models


def request_model_list(db: Database, registry: ModelRegistry) -> Callable[[ListModels, Cause], Awaitable[Models]]:
    """The answerer of `rpc.embed.v1.model.list`."""

    async def answer(request: ListModels, _cause: Cause) -> Models:
        return await list_models(request, db, registry)

    return answer

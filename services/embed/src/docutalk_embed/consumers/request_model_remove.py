"""Forget a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ModelRemoved, RemoveModel
from docutalk_common.db import Cause, Database

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.remove_model import remove_model


def request_model_remove(db: Database, registry: ModelRegistry) -> Callable[[RemoveModel, Cause], Awaitable[ModelRemoved]]:
    """The answerer of `rpc.embed.v1.model.remove`."""

    async def answer(request: RemoveModel, cause: Cause) -> ModelRemoved:
        return await remove_model(request, db, registry, cause)

    return answer

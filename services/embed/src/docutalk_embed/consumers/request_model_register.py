"""Make a model known here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import EmbeddingModel, RegisterModel
from docutalk_common.db import Cause, Database

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.register_model import register_model


def request_model_register(db: Database, registry: ModelRegistry) -> Callable[[RegisterModel, Cause], Awaitable[EmbeddingModel]]:
    """The answerer of `rpc.embed.v1.model.register`."""

    async def answer(request: RegisterModel, cause: Cause) -> EmbeddingModel:
        return await register_model(request, db, registry, cause)

    return answer

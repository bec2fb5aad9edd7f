"""Forget a model, with the vectors that an earlier change may have left of it."""

from __future__ import annotations

from docutalk_common.contracts.embed import ModelRemoved, RemoveModel
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_embed.adapters.model_changes import ModelChanges, find_open, patiently
from docutalk_embed.adapters.model_registry import BUILT_IN_ID, ModelRecord, ModelRegistry, find_model, find_serving
from docutalk_embed.adapters.model_repository import delete_model, lock_model


async def remove_model(request: RemoveModel, db: Database, registry: ModelRegistry, cause: Cause) -> ModelRemoved:
    """Raises `NotFound`, and `RequestFailed`: `conflict` for the built-in model, the one that serves and those of an open
    change; `unavailable` when documents are stored without a pause in between."""

    async def attempt() -> ModelRecord:
        async with db.transaction(cause) as transaction:
            session = transaction.session
            if (model := await find_model(session, request.name)) is None:
                raise NotFound(f"there is no model {request.name}")
            if model.id == BUILT_IN_ID:
                raise RequestFailed("conflict", f"{model.name} is part of the program and stays")
            # Or a change could begin, or be switched, between looking and dropping.
            changes = ModelChanges(transaction)
            await changes.lock_models()
            await lock_model(session, model.id)
            if (await find_serving(session)).id == model.id:
                raise RequestFailed("conflict", f"searches use {model.name}; change to another model first")
            change = await find_open(session)
            if change is not None and model in (change.serving, change.following):
                raise RequestFailed("conflict", f"a change to or from {model.name} is open; finish or cancel it first")
            await changes.drop_vectors(model.id)
            await delete_model(session, model.id)
            return model

    await registry.forget(await patiently(attempt))
    return ModelRemoved(name=request.name)

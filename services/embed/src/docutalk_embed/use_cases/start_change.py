"""Begin to change the installation's model; searches notice nothing of it until the switch."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.embed import ModelChange, StartChange
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_embed.adapters.model_changes import ModelChanges, find_open, list_changes, patiently
from docutalk_embed.adapters.model_registry import find_model, find_serving


async def start_change(request: StartChange, db: Database, cause: Cause) -> ModelChange:
    """Makes the table of the new model's vectors; the filler fills it, and new documents go to both from now on.

    Raises `NotFound` for a model that is not registered, `RequestFailed`: `conflict` while a change is open or when the model
    serves already, `unavailable` when documents are stored without a pause in between.
    """

    async def attempt() -> UUID:
        async with db.transaction(cause) as transaction:
            changes = ModelChanges(transaction)
            await changes.lock_models()
            serving = await find_serving(transaction.session)
            to_model = await find_model(transaction.session, request.to_model)
            if to_model is None:
                raise NotFound(f"there is no model {request.to_model}; register it first")
            if open_change := await find_open(transaction.session):
                raise RequestFailed(
                    "conflict",
                    f"a change from {open_change.from_model} to {open_change.to_model} is open; finish or cancel it first",
                )
            if to_model == serving:
                raise RequestFailed("conflict", f"searches use {serving.name} already")
            return await changes.begin(serving, to_model, request.started_by)

    change_id = await patiently(attempt)
    async with db.read() as session:
        [change] = await list_changes(session, change_id)
    return change

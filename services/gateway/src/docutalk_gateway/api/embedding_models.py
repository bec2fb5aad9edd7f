"""The models that texts are compared with, and the change from one to another. For administrators."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from docutalk_common.contracts import embed
from docutalk_common.contracts.embed import ChangeStep
from fastapi import APIRouter, Path, Response

from docutalk_gateway.api import embedding_shapes as shapes
from docutalk_gateway.api.context import Caller, SignedIn
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute

router = APIRouter(tags=["models"], route_class=IdempotentRoute)

_KEY: dict[str, Any] = {"parameters": [HEADER_PARAMETER]}
# A model is loaded and asked for a vector before it is registered.
REGISTER_SECONDS = 60.0
# A switch waits for the documents that are being stored at that moment, a table of vectors takes a moment to go.
STEP_SECONDS = 30.0


@router.get("/admin/models")
async def list_models(caller: SignedIn) -> shapes.Models:
    """The models that are registered, oldest first, and well-known ones that could be."""
    found = await caller.gateway.broker.requests.ask(
        "rpc.embed.v1.model.list", embed.ListModels(), embed.Models, cause=caller.cause
    )
    return shapes.Models.of(found)


@router.post("/admin/models", status_code=201, openapi_extra=_KEY)
async def add_model(caller: SignedIn, body: shapes.NewModel) -> shapes.Model:
    """Registers a model, once it has answered with a vector of the right dimension. `503` when its provider does not answer."""
    model = await caller.gateway.broker.requests.ask(
        "rpc.embed.v1.model.register", body.asked(), embed.EmbeddingModel, cause=caller.cause, timeout=REGISTER_SECONDS
    )
    return shapes.Model.of(model)


# Names of models may hold a slash.
@router.delete("/admin/models/{name:path}", status_code=204, response_class=Response)
async def delete_model(caller: SignedIn, name: Annotated[str, Path(max_length=200, pattern="^[^\\x00]*$")]) -> None:
    """Removes a model with its vectors. `409` while it serves or is part of a change."""
    await caller.gateway.broker.requests.ask(
        "rpc.embed.v1.model.remove", embed.RemoveModel(name=name), embed.ModelRemoved, cause=caller.cause, timeout=STEP_SECONDS
    )


@router.get("/admin/model-changes")
async def list_model_changes(caller: SignedIn) -> shapes.ModelChanges:
    """Changes of the model, newest first; at most one of them is open."""
    found = await caller.gateway.broker.requests.ask(
        "rpc.embed.v1.change.list", embed.ListChanges(), embed.ModelChanges, cause=caller.cause
    )
    return shapes.ModelChanges(items=[shapes.ModelChange.of(change) for change in found.items])


@router.post("/admin/model-changes", status_code=201, openapi_extra=_KEY)
async def start_model_change(caller: SignedIn, body: shapes.NewChange) -> shapes.ModelChange:
    """Begins to compute vectors of another model; searches use the old one meanwhile. `409` while another change is open."""
    question = embed.StartChange(to_model=body.to_model, started_by=caller.user_id)
    return await _change(caller, "start", question)


@router.post("/admin/model-changes/{change_id}/{step}", openapi_extra=_KEY)
async def step_model_change(caller: SignedIn, change_id: UUID, step: ChangeStep) -> shapes.ModelChange:
    """Pauses or resumes a change; switches searches to the new model or rolls them back; finishes by dropping the old model's
    vectors or cancels by dropping the new one's. `409` with the reason when that cannot be done now."""
    return await _change(caller, "step", embed.StepChange(change_id=change_id, step=step, asked_by=caller.user_id))


async def _change(caller: Caller, verb: str, question: embed.StartChange | embed.StepChange) -> shapes.ModelChange:
    change = await caller.gateway.broker.requests.ask(
        f"rpc.embed.v1.change.{verb}", question, embed.ModelChange, cause=caller.cause, timeout=STEP_SECONDS
    )
    return shapes.ModelChange.of(change)

"""`/v1/models`: each workspace is a model that answers from its documents."""

from __future__ import annotations

from fastapi import APIRouter

from docutalk_gateway.adapters import models, repository
from docutalk_gateway.api import openai_shapes as shapes
from docutalk_gateway.api.context import Access, Caller, SignedIn
from docutalk_gateway.api.openai_errors import RESPONSES, BadRequest
from docutalk_gateway.api.permissions import RULES
from docutalk_gateway.api.workspace_choice import UnknownWorkspace, choose_workspace

router = APIRouter(tags=["openai"], responses=RESPONSES)

# OpenAI's list has no pages.
MODELS_MAX = 1000


@router.get("/v1/models")
async def list_openai_models(caller: SignedIn) -> shapes.OpenAIModelList:
    """Your workspaces, oldest first."""
    async with caller.gateway.db.read() as session:
        mine, _ = await repository.workspaces_of(session, caller.user_id, offset=0, limit=MODELS_MAX)
    return shapes.OpenAIModelList(data=[_model(workspace) for workspace, _ in mine])


# A name may hold a slash.
@router.get("/v1/models/{model:path}")
async def get_openai_model(caller: SignedIn, model: str) -> shapes.OpenAIModel:
    """A workspace, by its id or its name."""
    access = await access_to_model(caller, model, "get_openai_model")
    async with caller.gateway.db.read() as session:
        found = await repository.workspace_of(session, access.workspace_id, access.user_id)
    if found is None:
        raise model_not_found("This workspace was deleted a moment ago.")
    return _model(found[0])


async def access_to_model(caller: Caller, model: str, operation: str) -> Access:
    """The workspace that a request names as its model, for this operation. Raises `BadRequest` with OpenAI's code for one that
    is unknown."""
    try:
        return await choose_workspace(caller, model, RULES[operation])
    except UnknownWorkspace as error:
        raise model_not_found(str(error)) from None


def model_not_found(reason: str) -> BadRequest:
    """As OpenAI tells it."""
    return BadRequest(reason, param="model", status=404, code="model_not_found")


def _model(workspace: models.Workspace) -> shapes.OpenAIModel:
    return shapes.OpenAIModel(id=str(workspace.id), created=int(workspace.created_at.timestamp()), name=workspace.name)

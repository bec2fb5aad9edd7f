"""How a workspace's questions are answered, and which models there are for it."""

from __future__ import annotations

from docutalk_common.contracts import chat
from fastapi import APIRouter

from docutalk_gateway.api import chat_shapes as shapes
from docutalk_gateway.api.context import Member

router = APIRouter(tags=["chat"])

_SETTINGS = "/workspaces/{workspace_id}/chat/settings"
# The provider is asked for its models.
MODELS_SECONDS = 10.0


@router.get(_SETTINGS)
async def get_chat_settings(access: Member) -> shapes.ChatSettings:
    """How this workspace's questions are answered."""
    question = chat.GetChatSettings(workspace_id=access.workspace_id)
    found = await access.gateway.broker.requests.ask("rpc.chat.v1.settings.get", question, chat.ChatSettings, cause=access.cause)
    return shapes.ChatSettings.of(found)


@router.patch(_SETTINGS)
async def patch_chat_settings(access: Member, body: shapes.ChatSettingsChanges) -> shapes.ChatSettings:
    """Changes how this workspace's questions are answered, from the next one on. Owners only."""
    changes = body.model_dump(exclude_unset=True)
    question = chat.ChangeChatSettings(workspace_id=access.workspace_id, changes=sorted(changes), **changes)
    found = await access.gateway.broker.requests.ask(
        "rpc.chat.v1.settings.change", question, chat.ChatSettings, cause=access.cause, timeout=MODELS_SECONDS
    )
    return shapes.ChatSettings.of(found)


@router.get("/workspaces/{workspace_id}/chat/models")
async def list_chat_models(access: Member) -> shapes.ChatModels:
    """The models that can answer here."""
    question = chat.ListChatModels(workspace_id=access.workspace_id)
    found = await access.gateway.broker.requests.ask(
        "rpc.chat.v1.model.list", question, chat.ChatModels, cause=access.cause, timeout=MODELS_SECONDS
    )
    return shapes.ChatModels.of(found)

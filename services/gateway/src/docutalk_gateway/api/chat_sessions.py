"""Conversations: list and search, read, rename, delete, export."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from docutalk_common.contracts import chat
from docutalk_common.errors import RequestFailed
from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse

from docutalk_gateway.api import chat_shapes as shapes
from docutalk_gateway.api.chat_markdown import as_markdown
from docutalk_gateway.api.context import Access, Member, Page
from docutalk_gateway.api.shapes import Listing
from docutalk_gateway.api.visitors import told_message

router = APIRouter(tags=["chat"])

_SESSION = "/workspaces/{workspace_id}/chat/sessions/{session_id}"
# So many answers of some length fit into one message of the message server; of the longest questions only a few do.
_AT_ONCE = 50
_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": shapes.SessionExport,
        "content": {"text/markdown": {"schema": {"type": "string"}}},
        "description": "As JSON, or with `format=markdown` as Markdown",
    }
}


@router.get("/workspaces/{workspace_id}/chat/sessions")
async def list_sessions(
    access: Member, page: Page, q: Annotated[str | None, Query(max_length=500, pattern="^[^\\x00]*$")] = None
) -> Listing[shapes.ChatSession]:
    """Your conversations in this workspace, last used first; with `q` those that hold its words."""
    question = chat.ListSessions(
        workspace_id=access.workspace_id, user_id=access.user_id, page=page.page, per_page=page.per_page, q=q
    )
    found = await access.gateway.broker.requests.ask("rpc.chat.v1.session.list", question, chat.SessionList, cause=access.cause)
    items = [shapes.ChatSession.of(item) for item in found.items]
    return Listing(items=items, total=found.total, page=page.page, per_page=page.per_page)


@router.get(_SESSION)
async def get_session(access: Member, session_id: UUID) -> shapes.ChatSession:
    """One of your conversations."""
    return shapes.ChatSession.of(await _session(access, session_id))


@router.patch(_SESSION)
async def patch_session(access: Member, session_id: UUID, body: shapes.ChatSessionChanges) -> shapes.ChatSession:
    """Renames one of your conversations."""
    question = chat.RenameSession(
        workspace_id=access.workspace_id, user_id=access.user_id, session_id=session_id, title=body.title
    )
    renamed = await access.gateway.broker.requests.ask("rpc.chat.v1.session.rename", question, chat.Session, cause=access.cause)
    return shapes.ChatSession.of(renamed)


@router.delete(_SESSION, status_code=204, response_class=Response)
async def delete_session(access: Member, session_id: UUID) -> None:
    """Deletes one of your conversations."""
    question = chat.DeleteSession(workspace_id=access.workspace_id, user_id=access.user_id, session_id=session_id)
    await access.gateway.broker.requests.ask("rpc.chat.v1.session.delete", question, chat.SessionDeleted, cause=access.cause)


@router.get(_SESSION + "/messages")
async def list_messages(access: Member, session_id: UUID) -> shapes.ChatMessages:
    """A whole conversation, oldest first, each question followed by its answers."""
    items = await _messages(access, session_id)
    return shapes.ChatMessages(items=items, total=len(items), per_page=max(1, len(items)))


@router.get(_SESSION + "/export", response_model=None, responses=_EXPORTED)
async def export_session(
    access: Member, session_id: UUID, format: Annotated[Literal["json", "markdown"], Query()] = "json"
) -> Response:
    """A whole conversation as a file: Markdown to read, with its sources, or JSON to work with."""
    session = shapes.ChatSession.of(await _session(access, session_id))
    messages = await _messages(access, session_id)
    ending = "md" if format == "markdown" else "json"
    headers = {"Content-Disposition": f'attachment; filename="conversation-{session_id}.{ending}"'}
    if format == "markdown":
        return PlainTextResponse(as_markdown(session, messages), media_type="text/markdown", headers=headers)
    exported = shapes.SessionExport(session=session, messages=messages)
    return Response(exported.model_dump_json(indent=2), media_type="application/json", headers=headers)


async def _session(access: Access, session_id: UUID) -> chat.Session:
    question = chat.GetSession(workspace_id=access.workspace_id, user_id=access.user_id, session_id=session_id)
    return await access.gateway.broker.requests.ask("rpc.chat.v1.session.get", question, chat.Session, cause=access.cause)


async def _messages(access: Access, session_id: UUID) -> list[shapes.ChatMessage]:
    found: list[shapes.ChatMessage] = []
    limit = _AT_ONCE
    while True:
        question = chat.ListMessages(
            workspace_id=access.workspace_id,
            user_id=access.user_id,
            session_id=session_id,
            offset=len(found),
            limit=limit,
        )
        try:
            part = await access.gateway.broker.requests.ask(
                "rpc.chat.v1.message.list", question, chat.MessageList, cause=access.cause
            )
        except RequestFailed as error:
            if error.code != "too_large" or limit == 1:
                raise
            limit //= 2
            continue
        found += [told_message(access.grant, shapes.ChatMessage.of(item)) for item in part.items]
        if not part.items or len(found) >= part.total:
            return found

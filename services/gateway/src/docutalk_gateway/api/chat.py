"""Chat: a message, its answer as JSON or as a stream, and sessions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any
from uuid import UUID

from docutalk_common.contracts import chat
from docutalk_common.contracts.chat import Frame, FrameKind
from docutalk_common.errors import NotFound, RequestFailed
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Access, Page, Reader
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, key_of
from docutalk_gateway.api.problems import status_of
from docutalk_gateway.api.sse import EventStream, ServerEvent, last_event_id
from docutalk_gateway.use_cases.follow_answer import AnswerFrame, AnswerRef, follow_answer
from docutalk_gateway.use_cases.post_message import post_message

router = APIRouter(tags=["chat"])

EVENT_STREAM = "text/event-stream"
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            EVENT_STREAM: {
                "schema": {"type": "string"},
                "example": 'event: start\ndata: {"answer_id": "…", "session_id": "…"}\n\nevent: delta\ndata: {"text": "…"}\n\n',
            }
        },
        "description": "The answer, or with `Accept: text/event-stream` the events `start, delta, citation, done, error`",
    }
}


@router.post(
    "/workspaces/{workspace_id}/chat",
    response_model=shapes.ChatAnswer,
    responses=_STREAM,
    openapi_extra={"parameters": [HEADER_PARAMETER]},
)
async def post_chat(
    request: Request,
    access: Reader,
    body: shapes.ChatRequest,
    last_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Asks the documents. The answer goes on being made when the client leaves: with the same `Idempotency-Key` it can be
    followed again, also from after a `Last-Event-ID`."""
    gateway = access.gateway
    posted = await post_message(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        workspace_id=access.workspace_id,
        user_id=access.user_id,
        text=body.message,
        session_id=body.session_id,
        selected_text=body.selected_text,
        document_ids=body.document_ids,
        topic=body.topic,
        idempotency_key=key_of(request),
        fingerprint=gateway.fingerprint(body.model_dump_json().encode()),
    )
    if _prefers_stream(request.headers.get("accept", "")):
        return _stream(access, posted, after=last_event_id(last_id))
    answer = await _whole_answer(_frames(access, posted, after=None))
    return JSONResponse(shapes.ChatAnswer.of(answer).model_dump(mode="json"))


@router.get(
    "/workspaces/{workspace_id}/chat/answers/{answer_id}/stream", response_class=EventStream, responses={200: _STREAM[200]}
)
async def stream_answer(
    access: Reader, answer_id: UUID, last_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None
) -> EventStream:
    """Follows an answer again after a lost connection, from after `Last-Event-ID` on. `answer_id` stands in `start`."""
    async with access.gateway.db.read() as session:
        posted = await repository.posted_message(session, access.workspace_id, access.user_id, answer_id)
    if posted is None:
        raise NotFound("There is no such answer.")
    return _stream(access, posted, after=last_event_id(last_id))


def _prefers_stream(accept: str) -> bool:
    return EVENT_STREAM in accept and "application/json" not in accept.partition(EVENT_STREAM)[0]


def _frames(access: Access, posted: PostedMessage, *, after: int | None) -> AsyncGenerator[AnswerFrame]:
    gateway = access.gateway
    return follow_answer(
        gateway.broker.nc,
        gateway.broker.requests,
        AnswerRef(posted.workspace_id, posted.user_id, posted.answer_id),
        after=after,
        patience=gateway.settings.answer_timeout_seconds,
    )


async def _whole_answer(frames: AsyncGenerator[AnswerFrame]) -> chat.Answer:
    """Waits for the end. Raises `RequestFailed` with the code of an `error` frame."""
    try:
        async for item in frames:
            if item.frame.kind is FrameKind.DONE and item.frame.answer is not None:
                return item.frame.answer
            if item.frame.kind is FrameKind.ERROR:
                raise RequestFailed(item.frame.code or "internal", item.frame.reason or "The answer could not be made.")
    finally:
        await frames.aclose()
    raise RequestFailed("timeout", "The answer did not end.")


def _stream(access: Access, posted: PostedMessage, *, after: int | None) -> EventStream:
    return EventStream(_events(_frames(access, posted, after=after), posted), closing=access.gateway.closing)


async def _events(frames: AsyncGenerator[AnswerFrame], posted: PostedMessage) -> AsyncGenerator[ServerEvent]:
    try:
        async for item in frames:
            yield ServerEvent(item.frame.kind.value, _data(item.frame, posted), item.sequence)
    finally:
        await frames.aclose()


def _data(frame: Frame, posted: PostedMessage) -> bytes:
    if frame.kind is FrameKind.START:
        return to_json({"answer_id": posted.answer_id, "message_id": posted.answer_id, "session_id": posted.session_id})
    if frame.kind is FrameKind.DELTA:
        return to_json({"text": frame.text or ""})
    if frame.kind is FrameKind.CITATION and frame.citation is not None:
        return shapes.Citation.of(frame.citation).model_dump_json().encode()
    if frame.kind is FrameKind.DONE and frame.answer is not None:
        return shapes.ChatAnswer.of(frame.answer).model_dump_json().encode()
    code = frame.code or "internal"
    return to_json({"code": code, "reason": frame.reason or "The answer could not be made.", "status": status_of(code)})


# Sessions --------------------------------------------------------------------------------------------------------


@router.get("/workspaces/{workspace_id}/chat/sessions")
async def list_sessions(access: Reader, page: Page) -> shapes.Listing[shapes.ChatSession]:
    """Your conversations in this workspace, newest first."""
    question = chat.ListSessions(workspace_id=access.workspace_id, user_id=access.user_id, page=page.page, per_page=page.per_page)
    found = await access.gateway.broker.requests.ask("rpc.chat.v1.session.list", question, chat.SessionList, cause=access.cause)
    items = [
        shapes.ChatSession(id=item.session_id, title=item.title, created_at=item.created_at, updated_at=item.updated_at)
        for item in found.items
    ]
    return shapes.Listing(items=items, total=found.total, page=page.page, per_page=page.per_page)


@router.delete("/workspaces/{workspace_id}/chat/sessions/{session_id}", status_code=204, response_class=Response)
async def delete_session(access: Reader, session_id: UUID) -> None:
    """Deletes one of your conversations."""
    question = chat.DeleteSession(workspace_id=access.workspace_id, user_id=access.user_id, session_id=session_id)
    await access.gateway.broker.requests.ask("rpc.chat.v1.session.delete", question, chat.SessionDeleted, cause=access.cause)


@router.get("/workspaces/{workspace_id}/chat/sessions/{session_id}/messages")
async def list_messages(access: Reader, session_id: UUID) -> shapes.ChatMessages:
    """A whole conversation, oldest first."""
    question = chat.ListMessages(workspace_id=access.workspace_id, user_id=access.user_id, session_id=session_id)
    found = await access.gateway.broker.requests.ask("rpc.chat.v1.message.list", question, chat.MessageList, cause=access.cause)
    items = [
        shapes.ChatMessage(
            id=item.message_id,
            role=item.role,
            text=item.text,
            citations=[shapes.Citation.of(citation) for citation in item.citations],
            created_at=item.created_at,
        )
        for item in found.items
    ]
    return shapes.ChatMessages(items=items, total=len(items), per_page=max(1, len(items)))

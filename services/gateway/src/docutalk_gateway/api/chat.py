"""Chat: a message and its answer as JSON or as a stream, and what can be done with an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any
from uuid import UUID

from docutalk_common.contracts import chat
from docutalk_common.contracts.chat import Frame, FrameKind
from docutalk_common.errors import NotFound
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.api import answers
from docutalk_gateway.api import chat_shapes as shapes
from docutalk_gateway.api.context import Access, Member
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, key_of
from docutalk_gateway.api.problems import status_of
from docutalk_gateway.api.sse import EventStream, ServerEvent, last_event_id
from docutalk_gateway.api.visitors import told_answer
from docutalk_gateway.domain import UnknownTopic
from docutalk_gateway.use_cases.follow_answer import AnswerFrame
from docutalk_gateway.use_cases.identify_caller import Grant
from docutalk_gateway.use_cases.post_message import NewMessage

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
        "description": "The answer, or with `Accept: text/event-stream` the events `start, delta, citation, done, error`; a"
        " `start` with `restarted` true means that the answer begins again, without what came before",
    }
}
_MESSAGE = "/workspaces/{workspace_id}/chat/sessions/{session_id}/messages/{message_id}"
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]


@router.post(
    "/workspaces/{workspace_id}/chat",
    response_model=shapes.ChatAnswer,
    responses=_STREAM,
    openapi_extra={"parameters": [HEADER_PARAMETER]},
)
async def post_chat(request: Request, access: Member, body: shapes.ChatRequest, last_id: LastEventId = None) -> Response:
    """Asks the documents. The answer goes on being made when the client leaves: with the same `Idempotency-Key` it can be
    followed again, also from after a `Last-Event-ID`."""
    if body.topic is not None:
        # Topics come with classification; to answer from all documents instead would be another answer than was asked for.
        raise UnknownTopic(body.topic)
    message = NewMessage(
        text=body.message, session_id=body.session_id, selected_text=body.selected_text, filters=access.narrowed(body.asked())
    )
    posted = await answers.post(access, message, idempotency_key=key_of(request), body=body.model_dump_json().encode())
    return await _answer(request, access, posted, last_id)


@router.post(
    _MESSAGE + "/regenerate",
    response_model=shapes.ChatAnswer,
    responses=_STREAM,
    openapi_extra={"parameters": [HEADER_PARAMETER]},
)
async def regenerate_answer(
    request: Request, access: Member, session_id: UUID, message_id: UUID, last_id: LastEventId = None
) -> Response:
    """Answers a question again, with the settings and documents of now; the message is the question or one of its answers. Both
    answers stay, and what follows goes on from the new one."""
    wanted = chat.GetQuestion(
        workspace_id=access.workspace_id, user_id=access.user_id, session_id=session_id, message_id=message_id
    )
    question = await access.gateway.broker.requests.ask("rpc.chat.v1.question.get", wanted, chat.Question, cause=access.cause)
    message = NewMessage(
        text=question.text,
        session_id=session_id,
        message_id=question.message_id,
        selected_text=question.selected_text,
        document_ids=question.document_ids,
        filters=access.narrowed(question.filters),
    )
    posted = await answers.post(access, message, idempotency_key=key_of(request), body=wanted.model_dump_json().encode())
    return await _answer(request, access, posted, last_id)


@router.post(_MESSAGE + "/stop", status_code=202, response_class=Response)
async def stop_answer(access: Member, session_id: UUID, message_id: UUID) -> None:
    """Ends an answer that is being made. What was written so far is kept, and its streams end with `done`. An answer that has
    ended already stays as it is."""
    async with access.gateway.db.read() as session:
        posted = await repository.posted_message(session, access.workspace_id, access.user_id, message_id)
    if posted is None or posted.session_id != session_id:
        raise NotFound("There is no such answer.")
    await answers.stop(access, posted)


@router.post(_MESSAGE + "/feedback")
async def give_feedback(access: Member, session_id: UUID, message_id: UUID, body: shapes.Feedback) -> shapes.FeedbackGiven:
    """Rates an answer. The last rating counts."""
    question = chat.RateAnswer(
        workspace_id=access.workspace_id,
        user_id=access.user_id,
        session_id=session_id,
        answer_id=message_id,
        rating=body.rating,
        comment=body.comment or None,
    )
    rated = await access.gateway.broker.requests.ask("rpc.chat.v1.answer.rate", question, chat.AnswerRated, cause=access.cause)
    return shapes.FeedbackGiven(message_id=rated.answer_id, rating=rated.rating, comment=rated.comment)


@router.get(
    "/workspaces/{workspace_id}/chat/answers/{answer_id}/stream", response_class=EventStream, responses={200: _STREAM[200]}
)
async def stream_answer(access: Member, answer_id: UUID, last_id: LastEventId = None) -> EventStream:
    """Follows an answer again after a lost connection, from after `Last-Event-ID` on. `answer_id` stands in `start`."""
    async with access.gateway.db.read() as session:
        posted = await repository.posted_message(session, access.workspace_id, access.user_id, answer_id)
    if posted is None:
        raise NotFound("There is no such answer.")
    return _stream(access, posted, after=last_event_id(last_id))


async def _answer(request: Request, access: Access, posted: PostedMessage, last_id: str | None) -> Response:
    if _prefers_stream(request.headers.get("accept", "")):
        return _stream(access, posted, after=last_event_id(last_id))
    answer = await answers.whole_answer(access, posted)
    return JSONResponse(told_answer(access.grant, shapes.ChatAnswer.of(answer)).model_dump(mode="json"))


def _prefers_stream(accept: str) -> bool:
    return EVENT_STREAM in accept and "application/json" not in accept.partition(EVENT_STREAM)[0]


def _stream(access: Access, posted: PostedMessage, *, after: int | None) -> EventStream:
    events = _events(access.grant, answers.frames(access, posted, after=after), posted)
    return EventStream(events, closing=access.gateway.closing, allowed=access.is_still_let_in)


async def _events(grant: Grant | None, frames: AsyncGenerator[AnswerFrame], posted: PostedMessage) -> AsyncGenerator[ServerEvent]:
    try:
        async for item in frames:
            yield ServerEvent(item.frame.kind.value, _data(grant, item.frame, posted), item.sequence)
    finally:
        await frames.aclose()


def _data(grant: Grant | None, frame: Frame, posted: PostedMessage) -> bytes:
    if frame.kind is FrameKind.START:
        return to_json(
            {
                "answer_id": posted.answer_id,
                "message_id": posted.answer_id,
                "session_id": posted.session_id,
                "restarted": frame.index > 0,
            }
        )
    if frame.kind is FrameKind.DELTA:
        return to_json({"text": frame.text or ""})
    if frame.kind is FrameKind.CITATION and frame.citation is not None:
        return shapes.Citation.of(frame.citation).model_dump_json().encode()
    if frame.kind is FrameKind.DONE and frame.answer is not None:
        return told_answer(grant, shapes.ChatAnswer.of(frame.answer)).model_dump_json().encode()
    code = frame.code or "internal"
    return to_json({"code": code, "reason": frame.reason or "The answer could not be made.", "status": status_of(code)})

"""`/v1/chat/completions`: a workspace's answers for clients of OpenAI, which keep the conversation themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

from docutalk_common.contracts import chat
from docutalk_common.contracts.chat import Frame, FrameKind, Turn
from docutalk_common.errors import DocuTalkError, RequestFailed
from docutalk_common.process import cancel_all
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.api import answers
from docutalk_gateway.api import openai_shapes as shapes
from docutalk_gateway.api.abandoned_answers import stopped_when_left
from docutalk_gateway.api.chat_markdown import source_line
from docutalk_gateway.api.chat_shapes import Citation
from docutalk_gateway.api.context import Access, SignedIn
from docutalk_gateway.api.openai_errors import RESPONSES, BadRequest, OpenAIError, OpenAIErrorDetail, error_of
from docutalk_gateway.api.openai_models import access_to_model
from docutalk_gateway.api.problems import Problem, problem_of
from docutalk_gateway.api.sse import EventStream, ServerEvent, disconnected
from docutalk_gateway.use_cases.follow_answer import AnswerFrame
from docutalk_gateway.use_cases.post_message import NewMessage

router = APIRouter(tags=["openai"], responses=RESPONSES)

TEXT_MAX = 20_000
# With the question they are the ten messages of context that a conversation has here, too.
TURNS_MAX = 9
QUOTE_MAX = 300
SOURCES = "\n\n**Sources**\n\n"
# A hard line break in Markdown, which cannot be seen where the text is shown as it is.
LINE_BREAK = "  \n"
BEGINS_AGAIN = "\n\n(The answer was interrupted and begins again.)\n\n"
_DONE = ServerEvent(None, b"[DONE]")

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'data: {"id": "…", "choices": [{"index": 0, "delta": {"content": "…"}}], …}\n\ndata: [DONE]\n\n',
            }
        },
        "description": "The answer, or with `stream` its pieces as chunks, the last with `docutalk`, and `[DONE]`",
    }
}


class _CompletionStream(EventStream):
    """Clients of OpenAI take every block for JSON, also one that only says when to come back; and they do not come back."""

    greeting = b""
    farewell = ServerEvent(
        None,
        OpenAIError(
            error=OpenAIErrorDetail(message="The server stops. Ask again in a moment.", type="server_error", code="stopping")
        )
        .model_dump_json()
        .encode(),
    ).encode()


@router.post("/v1/chat/completions", response_model=shapes.ChatCompletion, responses=_STREAM)
async def create_chat_completion(request: Request, caller: SignedIn, body: shapes.CompletionRequest) -> Response:
    """Answers the last message from the documents of a workspace (`model`). The text ends with its sources; `docutalk` has them
    as data. An answer whose client goes away before its end is stopped."""
    message = _new_message(body)
    access = await access_to_model(caller, body.model, "create_chat_completion")
    posted = await answers.post(access, message)
    completion = _Completion(access, posted, body.model)
    if body.stream:
        include_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        events = _events(request, completion, include_usage=include_usage)
        return _CompletionStream(events, closing=access.gateway.closing, allowed=access.is_still_let_in)
    answer = await _whole_answer(request, access, posted)
    return JSONResponse(completion.whole(answer).model_dump(mode="json"))


# From a request to a message -------------------------------------------------------------------------------------


def _new_message(body: shapes.CompletionRequest) -> NewMessage:
    if body.n is not None and body.n != 1:
        raise BadRequest("There is one answer to a question: leave n out, or let it be 1.", param="n")
    last = body.messages[-1]
    if last.role != "user":
        raise BadRequest("The last message must be the question, of the role user.", param="messages")
    text = _text(last).strip()
    if not text:
        raise BadRequest("The last message, the question, is empty.", param="messages")
    if len(text) > TEXT_MAX:
        raise BadRequest(f"A question may have {TEXT_MAX:,} characters; this one has {len(text):,}.", param="messages")
    return NewMessage(
        text=text,
        turns=_turns(body.messages[:-1]),
        instructions=_instructions(body.messages[:-1]),
        temperature=body.temperature,
        max_tokens=body.max_completion_tokens or body.max_tokens,
    )


def _turns(earlier: list[shapes.CompletionMessage]) -> list[Turn]:
    turns = []
    for message in earlier:
        text = _text(message) if message.role in {"user", "assistant"} else ""
        if message.role == "assistant":
            # Its sources are no part of what was said: a model would take them for its own words, and make some up.
            text = text.rpartition(SOURCES)[0] or text
        if text.strip():
            turns.append(Turn.model_validate({"role": message.role, "text": text.strip()[:TEXT_MAX]}))
    return turns[-TURNS_MAX:]


def _instructions(earlier: list[shapes.CompletionMessage]) -> str | None:
    texts = [_text(message).strip() for message in earlier if message.role in {"system", "developer"}]
    instructions = "\n\n".join(text for text in texts if text)
    if len(instructions) > TEXT_MAX:
        raise BadRequest(
            f"System messages may have {TEXT_MAX:,} characters together; these have {len(instructions):,}.", param="messages"
        )
    return instructions or None


def _text(message: shapes.CompletionMessage) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for part in message.content:
        if part.type != "text":
            raise BadRequest(
                f"Content of the type {part.type[:100]!r} cannot be answered here; send text, and upload files to the workspace.",
                param="messages",
            )
    return "\n".join(part.text or "" for part in message.content)


# From an answer to what OpenAI says ------------------------------------------------------------------------------


def sources(answer: chat.Answer) -> str:
    """What an answer ends with: a line for each citation, nothing without any."""
    if not answer.citations:
        return ""
    return SOURCES + LINE_BREAK.join(source_line(Citation.of(citation), longest=QUOTE_MAX) for citation in answer.citations)


@dataclass(frozen=True)
class _Completion:
    """One answer under the model's name that the client gave."""

    access: Access
    posted: PostedMessage
    model: str

    @property
    def _head(self) -> dict[str, Any]:
        created = self.posted.answer_id.int >> 80  # a UUIDv7 begins with its milliseconds
        return {"id": f"chatcmpl-{self.posted.answer_id.hex}", "created": created // 1000, "model": self.model}

    def whole(self, answer: chat.Answer) -> shapes.ChatCompletion:
        message = shapes.CompletionAnswer(content=answer.response + sources(answer), docutalk=_evidence(answer))
        choice = shapes.CompletionChoice(message=message, finish_reason=_reason(answer))
        return shapes.ChatCompletion(**self._head, choices=[choice], usage=_usage(answer))

    def piece(self, content: str, *, first: bool = False) -> ServerEvent:
        delta = shapes.CompletionDelta(role="assistant" if first else None, content=content)
        return self._event(choices=[shapes.CompletionPiece(delta=delta)])

    def end(self, answer: chat.Answer) -> ServerEvent:
        last = shapes.CompletionPiece(delta=shapes.CompletionDelta(), finish_reason=_reason(answer))
        return self._event(choices=[last], docutalk=_evidence(answer))

    def usage(self, answer: chat.Answer) -> ServerEvent:
        return self._event(choices=[], usage=_usage(answer))

    def _event(self, **fields: Any) -> ServerEvent:
        return _event(shapes.ChatCompletionChunk(**self._head, **fields))


def _event(content: BaseModel) -> ServerEvent:
    return ServerEvent(None, content.model_dump_json().encode())


def _evidence(answer: chat.Answer) -> shapes.AnswerEvidence:
    return shapes.AnswerEvidence(
        supported=answer.supported,
        citations=[Citation.of(citation) for citation in answer.citations],
        answer_id=answer.answer_id,
        model=answer.model,
    )


def _reason(answer: chat.Answer) -> Literal["stop", "length"]:
    return "length" if answer.truncated else "stop"


def _usage(answer: chat.Answer) -> shapes.CompletionUsage:
    if answer.usage is None:
        return shapes.CompletionUsage()
    read, written = answer.usage.input_tokens, answer.usage.output_tokens
    return shapes.CompletionUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


async def _whole_answer(request: Request, access: Access, posted: PostedMessage) -> chat.Answer:
    """Waits for the end, as long as the client does. Raises `ClientDisconnect` and `RequestFailed`."""
    waiting = asyncio.ensure_future(answers.whole_answer(access, posted))
    gone = asyncio.create_task(disconnected(request.receive))
    try:
        with stopped_when_left(access, posted):
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientDisconnect
            return waiting.result()
    finally:
        await cancel_all([waiting, gone])


async def _events(request: Request, completion: _Completion, *, include_usage: bool) -> AsyncGenerator[ServerEvent]:
    """The chunks, and after a failure an error in their place."""
    following = answers.frames(completion.access, completion.posted)
    try:
        with stopped_when_left(completion.access, completion.posted):
            yield completion.piece("", first=True)
            answer: chat.Answer | None = None
            said = ""
            async for item in following:
                text = _addition(item, said)
                if text:
                    said = "" if text == BEGINS_AGAIN else said + text
                    yield completion.piece(text)
                answer = _ended(item.frame)
            if answer is None:
                raise RequestFailed("timeout", "The answer did not end.")
            if answer.citations:
                yield completion.piece(sources(answer))
            yield completion.end(answer)
            if include_usage:
                yield completion.usage(answer)
            yield _DONE
    except DocuTalkError as error:
        yield _event(error_of(Problem.model_validate_json(bytes(problem_of(request, error).body))))
    finally:
        await following.aclose()


def _ended(frame: Frame) -> chat.Answer | None:
    if frame.kind is FrameKind.ERROR:
        raise RequestFailed(frame.code or "internal", frame.reason or "The answer could not be made.")
    return frame.answer


def _addition(item: AnswerFrame, said: str) -> str:
    """What a frame adds to what was `said` since the answer began. What was sent cannot be taken back."""
    frame = item.frame
    if frame.kind is FrameKind.START:
        return BEGINS_AGAIN if said else ""
    if frame.kind is FrameKind.DELTA:
        return frame.text or ""
    if frame.answer is None or item.sequence is not None:
        return ""
    # The stored answer: its frames got lost, some or all.
    whole = frame.answer.response
    return whole.removeprefix(said) if whole.startswith(said) else BEGINS_AGAIN + whole

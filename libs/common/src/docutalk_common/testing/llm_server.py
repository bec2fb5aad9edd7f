"""A language model for tests: a real HTTP server on loopback that speaks OpenAI's chat completions and Anthropic's messages, by
script, and on demand says about itself what Ollama says.

It records every request, so that a test can count what was sent, and can be slow, refuse, fail and break off.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from docutalk_common.testing.http_server import serving

MODEL = "scripted-1"


@dataclass(frozen=True)
class Reply:
    """One scripted answer. `pieces` are sent one by one, `delay` seconds apart, the first after `first_delay`."""

    pieces: Sequence[str] = ("Yes.",)
    status: int = 200
    first_delay: float = 0.0
    delay: float = 0.0
    hold: asyncio.Event | None = None
    """A stream begins once it is set."""
    finish_reason: str = "stop"
    """Of OpenAI's; Anthropic's is made of it."""
    cut_after: int | None = None
    """Break the connection after so many pieces."""
    end_after: int | None = None
    """End the stream cleanly after so many pieces, but without a finish reason, as a dying proxy does."""
    error_after: int | None = None
    """Send an error object inside the stream after so many pieces."""
    malformed_after: int | None = None
    """Send something that is no JSON after so many pieces."""
    retry_after: str | None = None
    """The header of an answer with another status than 200."""
    error: dict[str, Any] | None = None
    """The error object of such an answer, or of the one inside the stream; None for a plain one."""
    usage: bool = True
    """Tell how many tokens it took, if it was asked for."""

    @classmethod
    def text(cls, text: str) -> Reply:
        """The text word by word, as models send it."""
        words = text.split(" ")
        return cls([word if index == len(words) - 1 else word + " " for index, word in enumerate(words)])

    @property
    def breaks(self) -> bool:
        """Whether the stream is meant to end early."""
        return any(after is not None for after in (self.cut_after, self.end_after, self.error_after, self.malformed_after))


@dataclass(frozen=True)
class ReceivedRequest:
    """What a client sent. The names of `headers` are in lower case."""

    body: dict[str, Any]
    authorization: str | None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages of the request, each with `role` and `content`."""
        return list(self.body["messages"])

    @property
    def words(self) -> int:
        """Those of all messages and Anthropic's system prompt, which count as the tokens of the prompt."""
        texts = [message["content"] for message in self.messages]
        return sum(len(text.split()) for text in [*texts, self.body.get("system", "")])


class _BrokenOff(Exception):
    """Ends a response without its end."""


@dataclass(frozen=True)
class _Wire:
    """The parts of a stream in one wire format."""

    start: bytes
    text: Callable[[str], bytes]
    end: bytes
    error: bytes
    malformed: bytes


@dataclass
class ScriptedModel:
    """`async with ScriptedModel() as model:` serves at `model.base_url`. Replies are taken in order, then `default` answers;
    `default` may also be a function of the request. Anthropic's messages are at the same address."""

    default: Reply | Callable[[ReceivedRequest], Reply] = field(default_factory=Reply)
    replies: deque[Reply] = field(default_factory=deque)
    requests: list[ReceivedRequest] = field(default_factory=list)
    """For answers; those for lists are not among them."""
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away before the end of its answer."""
    models: list[str] = field(default_factory=lambda: [MODEL])
    """The names that it lists. For Ollama the last one is the newest."""
    base_url: str = ""
    api_key: str = "scripted-key"
    wants_key: bool = False
    """Answer 401 to any other key."""
    ollama: bool = False
    """Answer Ollama's own addresses too."""
    running: dict[str, int] = field(default_factory=dict)
    """The context length of the models that Ollama has loaded."""
    parameters: str = ""
    """What Ollama's Modelfile sets, as `num_ctx 8192`."""
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def root_url(self) -> str:
        """The address without `/v1`."""
        return self.base_url.removesuffix("/v1")

    def script(self, *replies: Reply) -> None:
        """Appends answers for the next requests."""
        self.replies.extend(replies)

    async def __aenter__(self) -> Self:
        routes = [
            Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
            Route("/v1/messages", self._messages, methods=["POST"]),
            Route("/v1/models", self._models),
        ]
        if self.ollama:
            routes += [
                Route("/api/tags", self._tags),
                Route("/api/show", self._show, methods=["POST"]),
                Route("/api/ps", self._ps),
                Route("/api/version", lambda _: JSONResponse({"version": "0.12.0"})),
            ]
        self.base_url = f"{await self._stack.enter_async_context(serving(Starlette(routes=routes)))}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _models(self, request: Request) -> Response:
        if self._wrong_key(request):
            return _openai_error(401, {"message": "scripted 401"})
        if "anthropic-version" in request.headers:
            data = [
                {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in self.models
            ]
            return JSONResponse({"data": data, "has_more": False, "first_id": None, "last_id": None})
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
        return JSONResponse({"object": "list", "data": listed})

    async def _chat_completions(self, request: Request) -> Response:
        received, reply = await self._received(request)
        if reply.status != 200:
            await asyncio.sleep(reply.first_delay)
            return _openai_error(reply.status, reply.error or {"message": f"scripted {reply.status}"}, reply.retry_after)
        if received.body.get("stream"):
            return StreamingResponse(self._stream(reply, _openai_wire(received, reply)), media_type="text/event-stream")
        await asyncio.sleep(reply.first_delay)
        message = {"role": "assistant", "content": "".join(reply.pieces)}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        usage = {"usage": _openai_usage(received, reply)} if reply.usage else {}
        return JSONResponse({**_COMPLETION, "object": "chat.completion", "choices": [choice], **usage})

    async def _messages(self, request: Request) -> Response:
        received, reply = await self._received(request)
        if reply.status != 200:
            await asyncio.sleep(reply.first_delay)
            kind = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}.get(reply.status, "api_error")
            error = reply.error or {"type": kind, "message": f"scripted {reply.status}"}
            body = {"type": "error", "error": error, "request_id": "req_1"}
            return JSONResponse(body, status_code=reply.status, headers=_retry_after(reply.retry_after))
        if received.body.get("stream"):
            return StreamingResponse(self._stream(reply, _anthropic_wire(received, reply)), media_type="text/event-stream")
        await asyncio.sleep(reply.first_delay)
        content = [{"type": "text", "text": "".join(reply.pieces)}]
        usage = {"input_tokens": received.words, "output_tokens": len(reply.pieces)}
        return JSONResponse({**_MESSAGE, "content": content, "stop_reason": _stop_reason(reply), "usage": usage})

    async def _received(self, request: Request) -> tuple[ReceivedRequest, Reply]:
        received = ReceivedRequest(
            await request.json(), request.headers.get("authorization"), request.url.path, dict(request.headers)
        )
        self.requests.append(received)
        if self._wrong_key(request):
            return received, Reply(status=401)
        if self.replies:
            return received, self.replies.popleft()
        return received, self.default(received) if callable(self.default) else self.default

    def _wrong_key(self, request: Request) -> bool:
        given = (request.headers.get("authorization"), request.headers.get("x-api-key"))
        return self.wants_key and given[0] != f"Bearer {self.api_key}" and given[1] != self.api_key

    async def _stream(self, reply: Reply, wire: _Wire) -> AsyncIterator[bytes]:
        done = False
        try:
            await asyncio.sleep(reply.first_delay)
            if reply.hold is not None:
                await reply.hold.wait()
            yield wire.start
            for index, piece in enumerate(reply.pieces):
                if index == reply.cut_after:
                    raise _BrokenOff
                if index == reply.end_after:
                    return
                if index == reply.error_after:
                    yield wire.error
                    return
                if index == reply.malformed_after:
                    yield wire.malformed
                    return
                yield wire.text(piece)
                await asyncio.sleep(reply.delay)
            yield wire.end
            done = True
        finally:
            if not done and not reply.breaks:
                self.abandoned.set()

    async def _tags(self, _: Request) -> Response:
        models = [
            {
                "name": name,
                "model": name,
                "modified_at": f"2026-01-{1 + index:02}T08:30:00.123456789+02:00",
                "size": 1,
                "digest": "0" * 64,
                "details": {"format": "gguf", "family": "bert" if "embed" in name else "llama"},
            }
            for index, name in enumerate(self.models)
        ]
        return JSONResponse({"models": models})

    async def _show(self, request: Request) -> Response:
        if (await request.json())["model"] not in self.models:
            return JSONResponse({"error": "model not found"}, status_code=404)
        info = {"general.architecture": "llama", "llama.context_length": 131072}
        return JSONResponse({"parameters": self.parameters, "model_info": info, "capabilities": ["completion"]})

    async def _ps(self, _: Request) -> Response:
        running = [{"name": name, "model": name, "context_length": length} for name, length in self.running.items()]
        return JSONResponse({"models": running})


_COMPLETION = {"id": "chatcmpl-1", "created": 0, "model": MODEL}
_CHUNK = {**_COMPLETION, "object": "chat.completion.chunk"}
_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
}


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\n".encode() + _data(data)


def _stop_reason(reply: Reply) -> str:
    return "max_tokens" if reply.finish_reason == "length" else "end_turn"


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    return _data({**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


# Remembered, as benchmarks send the same words thousands of times.
@functools.lru_cache(maxsize=4096)
def _chunk(piece: str) -> bytes:
    return _delta({"content": piece})


@functools.lru_cache(maxsize=4096)
def _text_event(piece: str) -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})


def _openai_wire(received: ReceivedRequest, reply: Reply) -> _Wire:
    end = _delta({}, finish_reason=reply.finish_reason)
    if reply.usage and received.body.get("stream_options", {}).get("include_usage"):
        end += _data({**_CHUNK, "choices": [], "usage": _openai_usage(received, reply)})
    return _Wire(
        start=_delta({"role": "assistant", "content": ""}),
        text=_chunk,
        end=end + b"data: [DONE]\n\n",
        error=_data({"error": reply.error or {"message": "scripted", "type": "scripted"}}),
        malformed=b'data: {"id": broken\n\n',
    )


def _anthropic_wire(received: ReceivedRequest, reply: Reply) -> _Wire:
    usage = {"input_tokens": received.words, "output_tokens": 1}
    stop = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    return _Wire(
        start=_event({"type": "message_start", "message": {**_MESSAGE, "usage": usage}})
        + _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        + _event({"type": "ping"}),
        text=_text_event,
        end=_event({"type": "content_block_stop", "index": 0})
        + _event({"type": "message_delta", "delta": stop, "usage": {"output_tokens": len(reply.pieces)}})
        + _event({"type": "message_stop"}),
        error=_event({"type": "error", "error": reply.error or {"type": "overloaded_error", "message": "Overloaded"}}),
        malformed=b'event: content_block_delta\ndata: {"type": broken\n\n',
    )


def _openai_usage(received: ReceivedRequest, reply: Reply) -> dict[str, int]:
    asked, answered = received.words, len(reply.pieces)
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _openai_error(status: int, error: dict[str, Any], retry_after: str | None = None) -> Response:
    error = {"type": "scripted", "code": None, **error}
    return JSONResponse({"error": error}, status_code=status, headers=_retry_after(retry_after))


def _retry_after(seconds: str | None) -> dict[str, str]:
    return {} if seconds is None else {"retry-after": seconds}

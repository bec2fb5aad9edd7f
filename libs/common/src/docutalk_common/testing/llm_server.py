"""A language model for tests: a real HTTP server on loopback that speaks OpenAI's chat completions, by script.

It records every request, so that a test can count what was sent, and can be slow, refuse, fail and break off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
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
    cut_after: int | None = None
    """Break the connection after so many pieces."""
    end_after: int | None = None
    """End the stream cleanly after so many pieces, but without a finish reason, as a dying proxy does."""
    error_after: int | None = None
    """Send an error object inside the stream after so many pieces."""

    @classmethod
    def text(cls, text: str) -> Reply:
        """The text word by word, as models send it."""
        words = text.split(" ")
        return cls([word if index == len(words) - 1 else word + " " for index, word in enumerate(words)])


@dataclass(frozen=True)
class ReceivedRequest:
    """What a client sent."""

    body: dict[str, Any]
    authorization: str | None

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages of the request, each with `role` and `content`."""
        return list(self.body["messages"])


class _BrokenOff(Exception):
    """Ends a response without its end."""


@dataclass
class ScriptedModel:
    """`async with ScriptedModel() as model:` serves at `model.base_url`. Replies are taken in order, then `default` answers;
    `default` may also be a function of the request."""

    default: Reply | Callable[[ReceivedRequest], Reply] = field(default_factory=Reply)
    replies: deque[Reply] = field(default_factory=deque)
    requests: list[ReceivedRequest] = field(default_factory=list)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away before the end of its answer."""
    base_url: str = ""
    api_key: str = "scripted-key"
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def script(self, *replies: Reply) -> None:
        """Appends answers for the next requests."""
        self.replies.extend(replies)

    async def __aenter__(self) -> Self:
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )
        self.base_url = f"{await self._stack.enter_async_context(serving(app))}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}]})

    async def _chat_completions(self, request: Request) -> Response:
        received = ReceivedRequest(await request.json(), request.headers.get("authorization"))
        self.requests.append(received)
        reply = self._next(received)
        if reply.status != 200:
            await asyncio.sleep(reply.first_delay)
            error = {"message": f"scripted {reply.status}", "type": "scripted", "code": None}
            return JSONResponse({"error": error}, status_code=reply.status)
        if received.body.get("stream"):
            return StreamingResponse(self._stream(reply), media_type="text/event-stream")
        await asyncio.sleep(reply.first_delay)
        message = {"role": "assistant", "content": "".join(reply.pieces)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]})

    def _next(self, received: ReceivedRequest) -> Reply:
        if self.replies:
            return self.replies.popleft()
        return self.default(received) if callable(self.default) else self.default

    async def _stream(self, reply: Reply) -> AsyncIterator[bytes]:
        done = False
        try:
            await asyncio.sleep(reply.first_delay)
            yield _chunk({"role": "assistant", "content": ""})
            for index, piece in enumerate(reply.pieces):
                if index == reply.cut_after:
                    raise _BrokenOff
                if index == reply.end_after:
                    return
                if index == reply.error_after:
                    yield b'data: {"error": {"message": "scripted", "type": "scripted"}}\n\n'
                    return
                yield _chunk({"content": piece})
                await asyncio.sleep(reply.delay)
            yield _chunk({}, finish_reason="stop")
            yield b"data: [DONE]\n\n"
            done = True
        finally:
            if not done and reply.cut_after is None and reply.end_after is None and reply.error_after is None:
                self.abandoned.set()


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"

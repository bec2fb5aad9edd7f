"""An embeddings endpoint for tests: a real HTTP server on loopback that speaks OpenAI's `/embeddings`.

Its vectors are made of the words of a text, always the same, so that texts which share words are alike. It records every
request, and can be slow, refuse, fail, break off and answer wrongly.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import math
import re
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from docutalk_common.testing.http_server import serving

MODEL = "hashed-words"
DIMENSION = 64
_PLACES = 16


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    """The unit vector of a text: each of its words stands at places, and with signs, that its hash chooses."""
    sums = [0.0] * dimension
    for word in re.findall(r"\w+", text.lower()) or [""]:
        digest = hashlib.blake2b(word.encode(), digest_size=4 * _PLACES).digest()
        for (bits,) in struct.iter_unpack("<I", digest):
            sums[(bits >> 1) % dimension] += 1.0 if bits & 1 else -1.0
    length = math.sqrt(sum(value * value for value in sums)) or 1.0
    return [value / length for value in sums]


@dataclass(frozen=True)
class Failure:
    """One request that goes wrong. With none of the four other fields set it is an error of that status."""

    status: int = 500
    retry_after: str | None = None
    cut: bool = False
    """Break the connection in the middle of the answer."""
    body: bytes | None = None
    """Answer 200 with this."""
    dimension: int | None = None
    """Answer 200 with vectors of this length."""
    missing: int = 0
    """Answer 200 without the last so many vectors."""


@dataclass(frozen=True)
class ReceivedTexts:
    """What a client sent."""

    body: dict[str, Any]
    authorization: str | None
    received_at: float
    """By `time.monotonic`."""

    @property
    def texts(self) -> list[str]:
        """The texts of the request, in order."""
        return list(self.body["input"])


@dataclass
class EmbeddingsServer:
    """`async with EmbeddingsServer() as server:` serves at `server.base_url`. `failures` are taken in order, one for each
    request; while `outage` is set every request meets it."""

    models: dict[str, int] = field(default_factory=lambda: {MODEL: DIMENSION})
    """The dimension of each model that it has; another one is answered 404."""
    api_key: str = "embeddings-key"
    """Any other key is answered 401."""
    delay: float = 0.0
    """Seconds that each answer takes."""
    failures: deque[Failure] = field(default_factory=deque)
    outage: Failure | None = None
    hold: asyncio.Event | None = None
    """No request is answered before it is set."""
    ignores_format: bool = False
    """Send numbers, whatever encoding was asked for, as some servers do."""
    sends_base64: bool = False
    """Send base64, whatever encoding was asked for."""
    max_characters: int | None = None
    """Longer texts are refused with 400, as endpoints refuse what exceeds their context."""
    requests: list[ReceivedTexts] = field(default_factory=list)
    running: int = 0
    """Requests that are being answered."""
    most_running: int = 0
    base_url: str = ""
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Self:
        app = Starlette(routes=[Route("/v1/embeddings", self._embeddings, methods=["POST"])])
        self.base_url = f"{await self._stack.enter_async_context(serving(app))}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _embeddings(self, request: Request) -> Response:
        received = ReceivedTexts(await request.json(), request.headers.get("authorization"), time.monotonic())
        self.requests.append(received)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.delay)
            if self.hold is not None:
                await self.hold.wait()
            failure = self.failures.popleft() if self.failures else self.outage
            return self._refusal(received) or (self._answer(received) if failure is None else self._failed(failure, received))
        finally:
            self.running -= 1

    def _refusal(self, received: ReceivedTexts) -> Response | None:
        if received.authorization != f"Bearer {self.api_key}":
            # The real one quotes the key, too.
            return _error(401, f"Incorrect API key provided: {received.authorization}")
        if received.body["model"] not in self.models:
            return _error(404, f"The model `{received.body['model']}` does not exist")
        if self.max_characters is not None and any(len(text) > self.max_characters for text in received.texts):
            return _error(400, "This model's maximum context length is exceeded")
        return None

    def _failed(self, failure: Failure, received: ReceivedTexts) -> Response:
        if failure.cut:
            return StreamingResponse(_broken_off(), headers={"content-length": "1000"}, media_type="application/json")
        if failure.body is not None:
            return Response(failure.body, media_type="application/json")
        if failure.dimension is not None or failure.missing:
            return self._answer(received, failure.dimension, failure.missing)
        headers = {} if failure.retry_after is None else {"retry-after": failure.retry_after}
        return _error(failure.status, f"scripted {failure.status}", headers)

    def _answer(self, received: ReceivedTexts, dimension: int | None = None, missing: int = 0) -> Response:
        model = received.body["model"]
        vectors = [vector_of(text, dimension or self.models[model]) for text in received.texts]
        encoded = self.sends_base64 or (received.body.get("encoding_format") == "base64" and not self.ignores_format)
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if encoded else vector}
            for index, vector in enumerate(vectors[: len(vectors) - missing])
        ]
        tokens = sum(len(text.split()) for text in received.texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": model, "usage": usage})


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    error = {"message": message, "type": "scripted", "code": None}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


async def _broken_off() -> AsyncIterator[bytes]:
    yield b'{"object": "list", "data": ['
    raise ConnectionAbortedError

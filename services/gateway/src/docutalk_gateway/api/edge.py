"""What happens to every HTTP request before and after its route: ids, a span, a log line, metrics, headers, the last catch.

Plain ASGI and no `BaseHTTPMiddleware`: that one buffers streams through a queue of its own and cancels uploads on disconnect.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.telemetry import get_logger, span
from fastapi import Request, Response
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

log = get_logger(__name__)

REQUESTS = Counter("docutalk_http_requests_total", "HTTP requests", ["method", "route", "status"])
SECONDS = Histogram(
    "docutalk_http_request_seconds",
    "Time to the end of the response, event streams left out",
    ["method", "route"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300),
)

_STATE = "docutalk"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Every body but that of an upload is read into memory, and forms into temporary files.
BODY_MAX = 4 << 20
_UPLOAD = re.compile(r"/api/v1/(workspaces/[^/]+/documents(/[^/]+/versions)?|imports)")
# What follows is the secret of a link; so is the `{token}` of a route.
_SECRET = re.compile(r"(/(?:shared|invited)/).+")
_QUIET = {"/livez", "/readyz", "/metrics", "/health"}
# For answers to requests whose body is not read to its end.
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Patience:
    """For how many seconds the gateway waits for a client: for the whole head of a request (`head`), for the next byte of a body
    (`silence`), for the whole of one that is no upload (`body`), and until it reads more of its response (`unread`)."""

    head: float = 20.0
    silence: float = 30.0
    body: float = 60.0
    unread: float = 60.0


def correlation_of(request: Request) -> UUID:
    """The id that everything this request leads to will carry."""
    ids: tuple[UUID, str] = request.scope[_STATE]
    return ids[0]


def trace_id_of(request: Request) -> str:
    """The trace of this request, 32 hexadecimal digits."""
    ids: tuple[UUID, str] = request.scope[_STATE]
    return ids[1]


def path_to_log(scope: Scope) -> str:
    """The path of a request, without the token that it may hold."""
    route: str = getattr(scope.get("route"), "path_format", "")
    return route if "{token}" in route else _SECRET.sub(r"\1…", scope["path"])


class Edge:
    """The outermost layer around the application, inside CORS only. `on_error` makes the answer to what nobody caught,
    `on_timeout` that to a request whose response has not begun after `seconds`, of an upload after its body was there. `https`:
    browsers are to use nothing else."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        on_error: Callable[[Request], Response],
        on_timeout: Callable[[Request], Response],
        seconds: float,
        patience: Patience,
        https: bool = False,
    ) -> None:
        self._app = app
        self._on_error = on_error
        self._on_timeout = on_timeout
        self._seconds = seconds
        self._patience = patience
        self._headers = {**_HEADERS, **(_HTTPS_ONLY if https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation_id = uuid7()
        incoming = Headers(scope=scope)
        parent = {"traceparent": incoming["traceparent"]} if "traceparent" in incoming else None
        with (
            span(scope["method"], kind=SpanKind.SERVER, headers=parent) as current,
            bound_contextvars(correlation_id=str(correlation_id)),
        ):
            context = current.get_span_context()
            trace_id = f"{context.trace_id:032x}" if context.is_valid else correlation_id.hex
            scope[_STATE] = (correlation_id, trace_id)
            exchange = _Exchange(send, trace_id, self._headers)
            started = time.perf_counter()
            is_upload = scope["method"] == "POST" and _UPLOAD.fullmatch(scope["path"]) is not None
            await self._run(scope, _Body(receive, self._patience, is_upload=is_upload), exchange)
            route = getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", "unknown")
            current.update_name(f"{scope['method']} {route}")
            current.set_attributes({"http.route": route, "http.request.method": scope["method"]})
            current.set_attribute("http.response.status_code", exchange.status)
            if exchange.status >= 500:
                current.set_status(StatusCode.ERROR)
            seconds = time.perf_counter() - started
            REQUESTS.labels(scope["method"], route, exchange.status).inc()
            if not exchange.is_event_stream:
                SECONDS.labels(scope["method"], route).observe(seconds)
            if scope["path"] not in _QUIET:
                path, took = path_to_log(scope), round(seconds * 1000, 1)
                log.info("request", method=scope["method"], path=path, status=exchange.status, ms=took)

    async def _run(self, scope: Scope, body: _Body, exchange: _Exchange) -> None:
        timed_out = False
        try:
            async with asyncio.timeout(None) as deadline:
                exchange.deadline = deadline
                if body.is_upload:
                    # It takes as long as it takes.
                    body.when_read = lambda: exchange.must_begin_within(self._seconds)
                else:
                    exchange.must_begin_within(self._seconds)
                await self._app(scope, body, exchange)
        except ClientDisconnect:
            exchange.status = exchange.status or 499
            return
        except Exception as error:
            timed_out = isinstance(error, TimeoutError) and deadline.expired()
            if timed_out:
                log.error("a request took too long", path=path_to_log(scope), seconds=self._seconds)
            else:
                log.exception("a request failed", path=path_to_log(scope))
            if exchange.status:
                # The response has begun: cutting the connection is the only way left to say that it is not whole.
                raise
        else:
            return
        exchange.deadline = None
        answer = self._on_timeout if timed_out else self._on_error
        await answer(Request(scope))(scope, body, exchange)


class _Body:
    """Receives a request's body, for as long and as much of it as a client may send. `when_read` is called at its end."""

    def __init__(self, receive: Receive, patience: Patience, *, is_upload: bool) -> None:
        self.is_upload = is_upload
        self.when_read: Callable[[], None] | None = None
        self._receive = receive
        self._silence = patience.silence
        self._within = None if is_upload else patience.body
        self._ends_at: float | None = None
        self._size = 0
        self._ended = False

    async def __call__(self) -> Message:
        """The next message. Raises `HTTPException` (408, 413)."""
        if self._ended:
            # Whether the client is still there.
            return await self._receive()
        message = await self._next()
        self._size += len(message.get("body", b""))
        if self._size > BODY_MAX and not self.is_upload:
            raise HTTPException(413, f"The body of this request may have {BODY_MAX} bytes.")
        if not message.get("more_body", False):
            self._ended = True
            if self.when_read is not None:
                self.when_read()
        return message

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        silent_at = loop.time() + self._silence
        if self._within is not None and self._ends_at is None:
            self._ends_at = loop.time() + self._within
        try:
            async with asyncio.timeout_at(min(silent_at, self._ends_at or silent_at)):
                return await self._receive()
        except TimeoutError:
            whole = self._ends_at is not None and self._ends_at <= silent_at
            waited = f"did not end within {self._within:g} s" if whole else f"stopped for {self._silence:g} s"
            raise HTTPException(408, f"The body of this request {waited}.", headers=_CLOSE) from None


class _Exchange:
    """Sees what is sent, and adds the headers of every response."""

    def __init__(self, send: Send, trace_id: str, headers: Mapping[str, str]) -> None:
        self._send = send
        self._trace_id = trace_id
        self._headers = headers
        self.deadline: asyncio.Timeout | None = None
        self.status = 0
        self.is_event_stream = False

    def must_begin_within(self, seconds: float) -> None:
        """Ends the request if its response has not begun by then."""
        if self.deadline is not None and not self.status:
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.deadline is not None and not self.deadline.expired():
                self.deadline.reschedule(None)
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", _API_POLICY)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Trace-Id"] = self._trace_id
            self.is_event_stream = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)

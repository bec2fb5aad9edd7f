"""What happens to every HTTP request before and after its route: ids, a span, a log line, metrics, headers, the last catch.

Plain ASGI and no `BaseHTTPMiddleware`: that one buffers streams through a queue of its own and cancels uploads on disconnect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
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
}
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Every body but that of an upload is read into memory, and forms into temporary files.
BODY_MAX = 4 << 20
_UPLOAD = re.compile(r"/api/v1/workspaces/[^/]+/documents(/[^/]+/versions)?")
_QUIET = {"/livez", "/readyz", "/metrics", "/health"}


def correlation_of(request: Request) -> UUID:
    """The id that everything this request leads to will carry."""
    ids: tuple[UUID, str] = request.scope[_STATE]
    return ids[0]


def trace_id_of(request: Request) -> str:
    """The trace of this request, 32 hexadecimal digits."""
    ids: tuple[UUID, str] = request.scope[_STATE]
    return ids[1]


class Edge:
    """The outermost layer around the application, inside CORS only. `on_error` makes the answer to what nobody caught."""

    def __init__(self, app: ASGIApp, *, on_error: Callable[[Request], Response]) -> None:
        self._app = app
        self._on_error = on_error

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
            exchange = _Exchange(send, trace_id)
            started = time.perf_counter()
            is_upload = scope["method"] == "POST" and _UPLOAD.fullmatch(scope["path"])
            await self._run(scope, receive if is_upload else _limited(receive), exchange)
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
                log.info(
                    "request", method=scope["method"], path=scope["path"], status=exchange.status, ms=round(seconds * 1000, 1)
                )

    async def _run(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        try:
            await self._app(scope, receive, exchange)
        except ClientDisconnect:
            exchange.status = exchange.status or 499
        except Exception:
            log.exception("a request failed", path=scope["path"])
            if exchange.status:
                # The response has begun: cutting the connection is the only way left to say that it is not whole.
                raise
            await self._on_error(Request(scope))(scope, receive, exchange)


def _limited(receive: Receive) -> Receive:
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_MAX:
            raise HTTPException(413, f"The body of this request may have {BODY_MAX} bytes.")
        return message

    return receive_limited


class _Exchange:
    """Sees what is sent, and adds the headers of every response."""

    def __init__(self, send: Send, trace_id: str) -> None:
        self._send = send
        self._trace_id = trace_id
        self.status = 0
        self.is_event_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", _API_POLICY)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Trace-Id"] = self._trace_id
            self.is_event_stream = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)

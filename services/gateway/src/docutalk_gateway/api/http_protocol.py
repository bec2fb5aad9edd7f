"""Connections of clients that never come to an end: uvicorn and its parser wait for them for ever, and keep all they send.

What is bounded here is what there is before a request or after its response; `edge.py` bounds what is between.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from typing import Any

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.telemetry import get_logger
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from docutalk_gateway.api.edge import Patience
from docutalk_gateway.api.problems import MEDIA_TYPE, Problem

log = get_logger(__name__)

URL_MAX = 16 << 10
# The request line and all headers, as they come over the wire.
HEAD_MAX = 64 << 10
_HEADERS_TOO_LARGE = (431, f"The headers of a request may have {HEAD_MAX} bytes.")


class _Refused(Exception):
    """Ends parsing: whatever a parser's callback raises becomes an answer and closes the connection."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection that gives up on its client: one that does not finish the head of a request, sends a head that is too large,
    does not read its response, or goes on sending a body long after its response."""

    patience = Patience()

    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self._requests = 0
        self._in_head = False
        self._in_body = False
        self._head_size = 0
        self._unfinished = 0
        self._refusal = (400, "This is not a request of HTTP/1.1.")
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._within(self.patience.head, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._in_time()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of it."""
        requests = self._requests
        super().data_received(data)
        if self._in_head and self._requests == requests:
            # The parser tells of a header when it is complete, and keeps what comes until then.
            self._unfinished += len(data)
            if self._unfinished > URL_MAX + HEAD_MAX and not self.transport.is_closing():
                self._refusal = _HEADERS_TOO_LARGE
                self.send_400_response("the head of a request is too large")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._requests += 1
        self._in_head, self._head_size, self._unfinished = True, 0, 0
        if self._deadline is None:
            self._within(self.patience.head, self._give_up)

    def on_url(self, url: bytes) -> None:
        """A part of its address."""
        super().on_url(url)
        if len(self.url) > URL_MAX:
            self._refusal = (414, f"The address of a request may have {URL_MAX} bytes.")
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        super().on_header(name, value)
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_MAX:
            self._refusal = _HEADERS_TOO_LARGE
            raise _Refused

    def on_headers_complete(self) -> None:
        """The end of its head."""
        self._in_time()
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The end of its body."""
        self._in_time()
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The end of a response, maybe before that of the body."""
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._within(self.patience.body, self.transport.abort)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.patience.unread, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read some."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request, or none that is taken."""
        status, detail = self._refusal
        problem = Problem(
            type="about:blank",
            title=http.HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            instance="",
            trace_id=uuid7().hex,
        )
        log.info("no request", status=status, reason=msg, trace_id=problem.trace_id)
        body = problem.model_dump_json(exclude_none=True).encode()
        head = (
            f"HTTP/1.1 {status} {problem.title}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._in_time()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._requests == 0:
            self.transport.close()
            return
        self._refusal = (408, f"The head of the request was not complete after {self.patience.head:g} s.")
        self.send_400_response("the head of a request did not end")


def bounded_protocol(patience: Patience) -> type[BoundedProtocol]:
    """The protocol with this patience; uvicorn makes one for each connection."""
    return type("BoundedProtocol", (BoundedProtocol,), {"patience": patience})

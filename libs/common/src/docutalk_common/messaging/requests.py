"""Questions answered now, over NATS: an envelope `{ok}` or `{error}`, a deadline, and one more try.

A handler that raises would send no reply at all and the asker would wait for its whole deadline; so every answer is an
envelope. Nobody listening is known at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import (
    ConnectionClosedError,
    ConnectionDrainingError,
    MaxPayloadError,
    NoRespondersError,
    OutboundBufferLimitError,
)
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from docutalk_common.contracts.envelope import Contract
from docutalk_common.db import Cause
from docutalk_common.errors import DependencyUnavailable, DocuTalkError, NotFound, RequestFailed
from docutalk_common.messaging.streams import request_for
from docutalk_common.telemetry import REQUEST_SECONDS, current_traceparent, get_logger, span

DEADLINE = "Docutalk-Deadline"
CORRELATION = "Docutalk-Correlation"
ACTOR = "Docutalk-Actor"

_UNREACHABLE = "the message server is not reachable; try again in a moment"

Q = TypeVar("Q", bound=Contract)
R = TypeVar("R", bound=Contract)

log = get_logger(__name__)


def _headers(cause: Cause | None, deadline: float) -> dict[str, str]:
    headers = {DEADLINE: f"{deadline:.3f}"}
    if cause is not None:
        headers[CORRELATION] = str(cause.correlation_id)
        if cause.actor:
            headers[ACTOR] = cause.actor
    if traceparent := current_traceparent():
        headers["traceparent"] = traceparent
    return headers


class ReplyError(Contract):
    """Why there is no answer; `code` as in `RequestFailed`."""

    code: str
    reason: str


class _Reply(Contract):
    """What comes back: one of the two."""

    ok: dict[str, Any] | None = None
    error: ReplyError | None = None


class RequestClient:
    """Asks other services."""

    def __init__(self, connection: Callable[[], Client]) -> None:
        self._connection = connection

    async def ask(
        self,
        subject: str,
        request: Contract,
        response: type[R],
        *,
        cause: Cause | None = None,
        timeout: float = 2.0,
    ) -> R:
        """The answer. Raises `NotFound` and `RequestFailed`; `unavailable` comes within `timeout` seconds, mostly at once.

        An idempotent request (see the table) that got no answer in the first half of the time is asked once more.
        """
        deadline = time.time() + timeout
        service = subject.split(".")[1]
        with span(subject, kind=SpanKind.CLIENT):
            headers = _headers(cause, deadline)
            again = request_for(subject).idempotent
            try:
                reply = await self._send(subject, request.model_dump_json().encode(), headers, timeout, again)
            except NoRespondersError:
                raise RequestFailed("unavailable", f"the {service} service is not running; try again in a moment") from None
            except NatsTimeout:
                if self._connection().is_connected:
                    raise RequestFailed("timeout", f"the {service} service did not answer within {timeout:g} s") from None
                raise RequestFailed("unavailable", _UNREACHABLE) from None
            except (DependencyUnavailable, ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError):
                raise RequestFailed("unavailable", _UNREACHABLE) from None
            except MaxPayloadError:
                raise RequestFailed("invalid", f"the question to the {service} service is too large") from None
        return _open(reply.data, response)

    async def _send(self, subject: str, payload: bytes, headers: dict[str, str], timeout: float, again: bool) -> Msg:
        """The first reply. The second asking, if any, does not give up the first: a slow answer is still an answer."""
        connection = self._connection()
        first = asyncio.ensure_future(connection.request(subject, payload, timeout=timeout, headers=headers))
        tries = {first}
        try:
            if again and not (await asyncio.wait(tries, timeout=timeout / 2))[0]:
                tries.add(asyncio.ensure_future(connection.request(subject, payload, timeout=timeout / 2, headers=headers)))
            pending = tries
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                answered = next((one for one in done if one.exception() is None), None)
                if answered is not None or not pending:
                    return (answered or done.pop()).result()
        finally:
            for one in tries:
                one.cancel()


def _open(data: bytes, response: type[R]) -> R:
    try:
        reply = _Reply.model_validate_json(data)
        if reply.error is None:
            return response.model_validate(reply.ok)
    except ValidationError as error:
        raise RequestFailed("internal", f"the answer could not be read as {response.__name__}: {error}") from error
    if reply.error.code == "not_found":
        raise NotFound(reply.error.reason)
    raise RequestFailed(reply.error.code, reply.error.reason)


def _error(code: str, reason: str) -> bytes:
    return b'{"error":' + ReplyError(code=code, reason=reason).model_dump_json().encode() + b"}"


async def _respond(message: Msg, reply: bytes) -> None:
    try:
        await message.respond(reply)
    except MaxPayloadError:
        await message.respond(_error("too_large", f"the answer has {len(reply)} bytes, too many for a message; ask for less"))


class Answerer:
    """Wraps the handler of one request: decodes, watches the deadline, and turns every outcome into a reply."""

    def __init__(self, subject: str, handler: Callable[[Q, Cause], Awaitable[Contract]]) -> None:
        self.request = request_for(subject)
        self._handler = handler

    async def __call__(self, message: Msg) -> None:
        headers = message.headers or {}
        deadline = float("inf")
        with contextlib.suppress(ValueError):
            deadline = float(headers.get(DEADLINE, "inf"))
        if time.time() > deadline:
            # The asker has given up; working for it would only delay those who still wait.
            REQUEST_SECONDS.labels(self.request.subject, "expired").observe(0)
            return
        started = time.perf_counter()
        with span(self.request.subject, kind=SpanKind.SERVER, headers=headers):
            reply, outcome = await self._answer(message.data, headers)
        try:
            await _respond(message, reply)
        except (NatsError, OSError) as error:
            log.warning("a reply could not be sent", subject=self.request.subject, reason=str(error))
        REQUEST_SECONDS.labels(self.request.subject, outcome).observe(time.perf_counter() - started)

    async def _answer(self, data: bytes, headers: dict[str, str]) -> tuple[bytes, str]:
        try:
            request = self.request.request.model_validate_json(data)
        except ValidationError as error:
            return _error("invalid", f"the request is not valid: {error}"), "invalid"
        try:
            cause = Cause.new(headers.get(ACTOR))
            if correlation := headers.get(CORRELATION):
                cause = Cause(UUID(correlation), actor=headers.get(ACTOR))
            answer = await self._handler(request, cause)  # type: ignore[arg-type]
            return b'{"ok":' + answer.model_dump_json().encode() + b"}", "ok"
        except DependencyUnavailable as error:
            log.warning("a request could not be answered", subject=self.request.subject, reason=str(error))
            told = error.told or f"{error.dependency} is not available; try again in a moment"
            return _error("unavailable", told), "unavailable"
        except DocuTalkError as error:
            return _error(error.code, str(error)), error.code
        except Exception:
            log.exception("a request failed", subject=self.request.subject)
            return _error("internal", "the request failed inside the service; its log says why"), "internal"

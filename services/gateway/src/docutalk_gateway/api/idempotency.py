"""`Idempotency-Key` for routes with a small JSON body. Uploads and chat have ways of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from docutalk_common.db import Cause
from docutalk_common.errors import RequestFailed
from fastapi import Request, Response
from fastapi.routing import APIRoute

from docutalk_gateway.api.context import admit_nobody, gateway_of, member, rule_of, signed_in
from docutalk_gateway.api.edge import correlation_of
from docutalk_gateway.api.permissions import Who
from docutalk_gateway.domain import is_text
from docutalk_gateway.use_cases.remember_request import Remembered, RequestKey, claim, release, remember

KEY_MAX = 255
# Of the address of a request; those that there are have half of it. What is longer, or no text, is for its route to refuse.
PATH_MAX = 255
NOBODY = UUID(int=0)
_KEPT_HEADERS = ("content-type", "location")

HEADER_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Chosen by the client. The same request with the same key, within 24 hours, is done once and answered twice.",
    "schema": {"type": "string", "maxLength": KEY_MAX},
}


def key_of(request: Request) -> str | None:
    """The key of a request, None without one. Raises `RequestFailed("invalid")` for one that is empty or too long."""
    key = request.headers.get("idempotency-key")
    if key is not None and (not key.isprintable() or not 1 <= len(key) <= KEY_MAX):
        raise RequestFailed("invalid", f"An Idempotency-Key has 1 to {KEY_MAX} printable characters.")
    return key


def replay(remembered: Remembered) -> Response:
    """The answer that the first request got."""
    headers = {**remembered.headers, "Idempotency-Replayed": "true"}
    return Response(remembered.body, remembered.status, headers=headers)


def to_remember(response: Response, fingerprint: bytes) -> Remembered:
    """What is kept of an answer."""
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return Remembered(fingerprint, response.status_code, headers, bytes(response.body))


class IdempotentRoute(APIRoute):
    """A route whose POST is done once for each key. Only successes are kept: after a failure the next try may succeed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the route, outside of its dependencies."""
        handle = super().get_route_handler()

        async def handle_once(request: Request) -> Response:
            key, path = key_of(request) if request.method == "POST" else None, request.url.path
            if key is None or len(path) > PATH_MAX or not is_text(path):
                return await handle(request)
            gateway = gateway_of(request)
            named = RequestKey(await _caller(request), f"{request.method} {path}", key)
            cause = Cause(correlation_of(request))
            fingerprint = gateway.fingerprint(await request.body())
            earlier = await claim(gateway.db, cause, named, fingerprint)
            if earlier is not None:
                return replay(earlier)
            response: Response | None = None
            try:
                response = await handle(request)
            finally:
                if response is None or not 200 <= response.status_code < 300:
                    await release(gateway.db, cause, named)
            if 200 <= response.status_code < 300:
                await remember(gateway.db, cause, named, to_remember(response, fingerprint))
            return response

        return handle_once


async def _caller(request: Request) -> UUID:
    """Whose key it is. An answer is repeated only to who may still ask for it."""
    if rule_of(request).who is Who.ANYBODY:
        await admit_nobody(request)
        return NOBODY
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = given if scheme.lower() == "bearer" else None
    try:
        workspace_id = UUID(request.path_params["workspace_id"])
    except (KeyError, ValueError):
        return (await signed_in(request, token)).user_id
    return (await member(request, workspace_id, token)).user_id

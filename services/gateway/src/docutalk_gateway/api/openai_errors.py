"""Errors under `/v1` in OpenAI's shape: the same problems as everywhere, told as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from docutalk_gateway.api import problems
from docutalk_gateway.api.problems import Problem

PREFIX = "/v1/"

Handler = Callable[[Request, Any], Response | Awaitable[Response]]

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_exceeded"}
# Where OpenAI has a word of its own for what happened.
_CODES = {
    "not_signed_in": "invalid_api_key",
    "too_many_messages": "rate_limit_exceeded",
    "too_many_requests": "rate_limit_exceeded",
}


class OpenAIErrorDetail(BaseModel):
    """`param` is the field that is wrong, `code` for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIError(BaseModel):
    """What every error under `/v1` answers."""

    error: OpenAIErrorDetail


RESPONSES: dict[int | str, dict[str, Any]] = {"default": {"model": OpenAIError, "description": "An error in OpenAI's shape"}}


class BadRequest(Exception):
    """What OpenAI's protocol allows, or what may be asked for by it, and not here."""

    def __init__(self, message: str, *, param: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code


def error_of(problem: Problem) -> OpenAIError:
    """The problem in OpenAI's words."""
    code = problem.type.rpartition(":")[2] if problem.type.startswith("urn:") else None
    location = problem.errors[0].location if problem.errors else []
    return OpenAIError(
        error=OpenAIErrorDetail(
            message=problem.detail,
            type=_type(problem.status),
            param=".".join(str(part) for part in location[1:]) or None,
            code=_CODES.get(code, code) if code else None,
        )
    )


def _type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def _told(request: Request, response: Response) -> Response:
    if not request.url.path.startswith(PREFIX) or response.media_type != problems.MEDIA_TYPE:
        return response
    problem = Problem.model_validate_json(bytes(response.body))
    headers = {name: value for name, value in response.headers.items() if name not in {"content-type", "content-length"}}
    status = 400 if problem.status == 422 else problem.status
    return JSONResponse(error_of(problem).model_dump(), status, headers=headers)


def internal_error(request: Request) -> Response:
    """500 without internals, in the shape of the address."""
    return _told(request, problems.internal_error(request))


def too_slow(request: Request) -> Response:
    """504, in the shape of the address."""
    return _told(request, problems.too_slow(request))


def install(app: FastAPI) -> None:
    """Wraps the handlers of the application's errors, which must be there already."""
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, _for_clients_of_openai(handler))
    app.add_exception_handler(BadRequest, _on_bad_request)


def _for_clients_of_openai(handler: Handler) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        made = handler(request, error)
        response = made if isinstance(made, Response) else await made
        return _told(request, response)

    return handle


async def _on_bad_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    detail = OpenAIErrorDetail(message=str(error), type=_type(error.status), param=error.param, code=error.code)
    return JSONResponse(OpenAIError(error=detail).model_dump(), error.status)

"""The one error format: problem details (RFC 9457). Errors become HTTP here and nowhere else."""

from __future__ import annotations

import http
import math
from collections.abc import Mapping, Sequence
from typing import Any

from docutalk_common.errors import DependencyUnavailable, DocuTalkError, RequestFailed
from docutalk_common.telemetry import get_logger
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from docutalk_gateway.api.edge import trace_id_of
from docutalk_gateway.domain import TooManyMessages, TooManyRequests

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

# code → status. What is missing here is ours to mend and answers 500 without saying more.
_STATUS: Mapping[str, int] = {
    "not_signed_in": 401,
    "wrong_credentials": 401,
    "invalid_refresh_token": 401,
    "registration_closed": 403,
    "openid_refused": 403,
    "openid_fault": 502,
    "wrong_password": 403,
    "not_allowed": 403,
    "share_password": 403,
    "not_found": 404,
    "session_not_found": 404,
    "no_boxes": 404,
    "no_image": 404,
    "conflict": 409,
    "workspace_archived": 409,
    "quota_exceeded": 409,
    "email_taken": 409,
    "idempotency_key_in_use": 409,
    "document_being_accepted": 409,
    "file_too_large": 413,
    "range_not_satisfiable": 416,
    "invalid": 422,
    "too_large": 422,
    "malformed_upload": 422,
    "unknown_topic": 422,
    "too_many_messages": 429,
    "too_many_requests": 429,
    "questions_used_up": 429,
    "idempotency_key_reused": 422,
    "unavailable": 503,
    "timeout": 503,
    "dependency_unavailable": 503,
    "search_unavailable": 503,
    "pages_unavailable": 503,
    "model_unavailable": 503,
    "model_rate_limited": 503,
    "model_timeout": 504,
    "model_interrupted": 502,
    "model_rejected": 502,
    "model_unauthorized": 502,
    "model_context_exceeded": 502,
}
_TITLES: Mapping[str, str] = {
    "not_signed_in": "Sign in first",
    "wrong_credentials": "Sign-in failed",
    "invalid_refresh_token": "Refresh token not valid",
    "registration_closed": "Registration is closed",
    "openid_refused": "Sign-in refused",
    "openid_fault": "OpenID provider not usable",
    "wrong_password": "Wrong password",
    "not_allowed": "Not allowed",
    "share_password": "Password needed",
    "not_found": "Not found",
    "session_not_found": "Conversation deleted",
    "no_boxes": "No places on this page",
    "no_image": "No picture of this page",
    "conflict": "Conflict",
    "workspace_archived": "Workspace archived",
    "quota_exceeded": "Quota used up",
    "email_taken": "E-mail address in use",
    "idempotency_key_in_use": "Request still running",
    "document_being_accepted": "Document not registered yet",
    "file_too_large": "File too large",
    "range_not_satisfiable": "Range not satisfiable",
    "invalid": "Request not valid",
    "too_large": "Answer too large",
    "malformed_upload": "Upload not valid",
    "idempotency_key_reused": "Idempotency key reused",
    "unavailable": "Service unavailable",
    "timeout": "Service did not answer in time",
    "dependency_unavailable": "Service unavailable",
    "search_unavailable": "Search unavailable",
    "pages_unavailable": "Documents unavailable",
    "unknown_topic": "No such topic",
    "too_many_messages": "Too many questions",
    "too_many_requests": "Too many requests",
    "questions_used_up": "Questions of today used up",
    "model_unavailable": "Language model unavailable",
    "model_rate_limited": "Language model busy",
    "model_timeout": "Language model did not answer in time",
    "model_interrupted": "Language model broke off",
    "model_rejected": "Language model refused the request",
    "model_unauthorized": "Language model refused the key",
    "model_context_exceeded": "Too long for the language model",
}


class FieldError(BaseModel):
    """One thing that is wrong with a request. `location` is the way to the field, for example `["body", "email"]`."""

    location: list[str | int]
    message: str
    type: str


class Problem(BaseModel):
    """What every error answers. `trace_id` finds the request in logs and traces."""

    type: str = Field(examples=["urn:docutalk:problem:not_found"])
    title: str
    status: int
    detail: str
    instance: str
    trace_id: str
    errors: list[FieldError] | None = None


def status_of(code: str) -> int:
    """The status for an error's code."""
    return _STATUS.get(code, 500)


def codes_of(status: int) -> list[str]:
    """The codes of the errors that have this status."""
    return sorted(code for code, its in _STATUS.items() if its == status)


def problem(
    request: Request,
    status: int,
    *,
    detail: str,
    code: str | None = None,
    title: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response. Without a code its type is `about:blank`: it means no more than its status."""
    content = Problem(
        type=f"urn:docutalk:problem:{code}" if code else "about:blank",
        title=title or (_TITLES.get(code, "Error") if code else http.HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        instance=request.url.path,
        trace_id=trace_id_of(request),
        errors=list(errors) or None,
    )
    return JSONResponse(content.model_dump(exclude_none=True), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(request: Request, error: DocuTalkError) -> JSONResponse:
    """The problem for a named error."""
    code, detail = error.code, str(error)
    status = status_of(code)
    if isinstance(error, DependencyUnavailable):
        # The reason may hold addresses of servers: it belongs into the log.
        log.warning("a dependency is not available", dependency=error.dependency, reason=detail)
        detail = f"{error.dependency} is not available; try again in a moment."
    headers: dict[str, str] = {}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif status == 409 and code in {"idempotency_key_in_use", "document_being_accepted"}:
        headers["Retry-After"] = "1"
    elif isinstance(error, TooManyMessages | TooManyRequests):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == 500:
        log.error("an error that has no status", code=code, detail=detail, error=type(error).__name__)
        return internal_error(request)
    return problem(request, status, detail=detail, code=code, headers=headers)


def internal_error(request: Request) -> JSONResponse:
    """500 without internals."""
    return problem(request, 500, detail="Something went wrong here. The log says more under this trace id.")


def too_slow(request: Request) -> JSONResponse:
    """504: the gateway waits no longer for what the request needs."""
    return problem(request, 504, detail="This took longer than a request may. Try again later, or ask for less.")


async def _on_named(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DocuTalkError)
    return problem_of(request, error)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        # FastAPI, of a body that is no JSON for another reason than its syntax, for example its depth.
        return problem(request, 422, detail="The body of this request cannot be read.", code="invalid")
    details = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    phrase = http.HTTPStatus(error.status_code).phrase
    detail = str(error.detail) if error.detail and error.detail != phrase else details.get(error.status_code, phrase)
    return problem(request, error.status_code, detail=detail, headers=error.headers)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # The offending input is left out: it may be a password.
    errors = [FieldError(location=list(e["loc"]), message=e["msg"], type=e["type"]) for e in error.errors()]
    first: Any = errors[0].location if errors else []
    detail = f"{'.'.join(str(part) for part in first)}: {errors[0].message}" if errors else "The request is not valid."
    return problem(request, 422, detail=detail, code="invalid", errors=errors)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem. Unexpected ones are caught by the edge."""
    app.add_exception_handler(DocuTalkError, _on_named)
    app.add_exception_handler(RequestFailed, _on_named)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)

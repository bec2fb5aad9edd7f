"""The OpenAPI document: what FastAPI derives, with every answer that an operation may give."""

from __future__ import annotations

import http
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from docutalk_gateway.api import openai_errors, problems
from docutalk_gateway.api.permissions import RULES, Who
from docutalk_gateway.domain import Scope

_REFERENCE = "#/components/schemas/{model}"
_API = ("/api/v1/", openai_errors.PREFIX)

# What does not follow from who may call an operation and what it takes.
_ALSO: dict[str, set[int]] = {
    "register": {403, 404, 409},
    "login": {401},
    "token": {401},
    "refresh": {401},
    "reset_password": {404},
    "start_openid": {404, 502},
    "finish_openid": {403, 404, 409, 502},
    "exchange_openid": {403, 404},
    "open_shared": {403},
    "me": {404},
    "start_model_change": {404},
    "get_content": {416},
    "create_chat_completion": {404, 502},
    "create_embeddings": {404},
}


def operation_id(route: APIRoute) -> str:
    """The function's name: short, and stable when a path changes."""
    return route.name


def install(app: FastAPI) -> None:
    """Makes `app.openapi()` say that every error is a problem."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes, license_info=app.license_info
            )
            _add_problems(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_problems(document: dict[str, Any]) -> None:
    components = document["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    definition = problems.Problem.model_json_schema(ref_template=_REFERENCE)
    components["schemas"].update(definition.pop("$defs", {}))
    components["schemas"]["Problem"] = definition
    named = components.setdefault("responses", {})
    for path, operations in document["paths"].items():
        is_openai = path.startswith(openai_errors.PREFIX)
        for method, operation in operations.items():
            responses = operation["responses"]
            responses.pop("422", None)
            for status in sorted(_statuses(path, method, operation)):
                name = f"{'OpenAIError' if is_openai else 'Problem'}{status}"
                named[name] = _answer(http.HTTPStatus(status).phrase, status, is_openai=is_openai)
                responses.setdefault(str(status), {"$ref": f"#/components/responses/{name}"})
            responses.setdefault("default", _answer("A problem (RFC 9457)", None, is_openai=is_openai))


def _statuses(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """The statuses of the errors that an operation may answer. What is not among them is a fault."""
    if not path.startswith(_API):
        return set()
    name = operation["operationId"]
    rule = RULES[name]
    found = {429, 503, 504} | _ALSO.get(name, set())
    if rule.who is not Who.ANYBODY:
        found |= {401, 403}
        if method != "get":
            found.add(409)
    if "{" in path:
        found.add(404)
    if rule.scope is Scope.CHAT and method == "post":
        # The language model's own errors.
        found.add(502)
    if "requestBody" in operation:
        found |= {408, 413}
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
        found.add(414)
    if "requestBody" in operation or operation.get("parameters"):
        found.add(422)
    return (found - {422}) | {400} if path.startswith(openai_errors.PREFIX) and 422 in found else found


def _answer(description: str, status: int | None, *, is_openai: bool) -> dict[str, Any]:
    codes = ", ".join(f"`{code}`" for code in problems.codes_of(status)) if status else ""
    media_type, model = ("application/json", "OpenAIError") if is_openai else (problems.MEDIA_TYPE, "Problem")
    answer: dict[str, Any] = {
        "description": f"{description}: {codes}" if codes and not is_openai else description,
        "content": {media_type: {"schema": {"$ref": _REFERENCE.format(model=model)}}},
    }
    if status in {429, 503}:
        answer["headers"] = {"Retry-After": {"description": "In how many seconds to try again", "schema": {"type": "integer"}}}
    return answer

"""The OpenAPI document: what FastAPI derives, with the one error format in it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from docutalk_gateway.api.problems import MEDIA_TYPE, Problem

_REFERENCE = "#/components/schemas/{model}"


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
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    definition = Problem.model_json_schema(ref_template=_REFERENCE)
    schemas.update(definition.pop("$defs", {}))
    schemas["Problem"] = definition
    answer = {
        "description": "A problem (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"].setdefault("default", answer)

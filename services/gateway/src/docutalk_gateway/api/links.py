"""Links that people hand on."""

from __future__ import annotations

from fastapi import Request

from docutalk_gateway.api.context import gateway_of


def link_to(request: Request, path: str) -> str:
    """`path` below `/api/v1` at the address by which people reach the gateway: the setting, else where this request came to."""
    base = gateway_of(request).settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}/api/v1{path}"

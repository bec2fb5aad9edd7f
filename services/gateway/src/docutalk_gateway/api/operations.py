"""Health, probes, metrics, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from docutalk_common.telemetry import get_logger
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Page, SignedIn, gateway_of
from docutalk_gateway.use_cases.read_dead_letters import get_dead_letter, list_dead_letters

log = get_logger(__name__)

# Outside /api/v1: for machines that watch.
probes = APIRouter(tags=["operations"])
admin = APIRouter(tags=["operations"])

CHECK_SECONDS = 2.0
_NOT_READY = {"description": "Not ready, or stopping", "content": {"text/plain": {"schema": {"type": "string"}}}}


async def _check(name: str, ping: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await ping()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:
        # Also what nobody foresaw, for example a password that the server no longer takes: that is what a check is for.
        log.warning("a check failed", check=name, reason=f"{type(error).__name__}: {error}")
        return "not available"
    return "ok"


@probes.get("/health")
async def health(request: Request) -> shapes.Health:
    """Whether the servers that the gateway needs answer. Always `200`: `/readyz` is for those who only read the status."""
    checks = gateway_of(request).checks
    results = await asyncio.gather(*(_check(name, ping) for name, ping in checks.items()))
    found = dict(zip(checks, results, strict=True))
    return shapes.Health(status="ok" if set(results) == {"ok"} else "degraded", checks=found)


@probes.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """Answers as long as the process works."""
    return "ok\n"


@probes.get("/readyz", response_class=PlainTextResponse, responses={503: _NOT_READY})
async def readyz(request: Request) -> Response:
    """`200` when requests can be served, `503` otherwise and while stopping."""
    gateway = gateway_of(request)
    ready = not gateway.closing.is_set() and (await health(request)).status == "ok"
    return PlainTextResponse("ok\n" if ready else "not ready\n", 200 if ready else 503)


@probes.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Prometheus text."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@admin.get("/admin/dead-letters")
async def dead_letters(caller: SignedIn, page: Page) -> shapes.Listing[shapes.DeadLetter]:
    """Messages that a consumer gave up on, newest first."""
    found, total = await list_dead_letters(caller.gateway.broker.nc, offset=page.offset, limit=page.per_page)
    items = [shapes.DeadLetter.of(entry) for entry in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@admin.get("/admin/dead-letters/{sequence}")
async def dead_letter(caller: SignedIn, sequence: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> shapes.DeadLetterDetail:
    """One of them, with the message itself."""
    entry = await get_dead_letter(caller.gateway.broker.nc, sequence)
    return shapes.DeadLetterDetail.model_validate({"sequence": entry.sequence, **entry.letter.model_dump()})

"""The gateway as a process of its own, on the test servers: to be killed, or to have its memory measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from docutalk_common.process import wait_until
from docutalk_local.ports import free_port
from docutalk_local.testing import TestStack


def _end_of(log: Path) -> str:
    return log.read_text()[-3000:]


@contextlib.asynccontextmanager
async def gateway_process(stack: TestStack, settings: Any, log: Path) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """A process, and its administrator. It must end well, unless the test has killed it."""
    port = free_port()
    environment = {
        **os.environ,
        **stack.service_environment("gateway"),
        "DOCUTALK_PORT": str(port),
        "DOCUTALK_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "DOCUTALK_ADMIN_EMAIL": settings.admin_email,
        "DOCUTALK_ADMIN_PASSWORD": settings.admin_password.get_secret_value(),
    }
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "docutalk_gateway", env=environment, stderr=file)
    killed = False
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as http:

            async def up() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/readyz")).status_code == 200
                return False

            await wait_until(up, seconds=60, what="the gateway is ready")
            body = {"email": settings.admin_email, "password": settings.admin_password.get_secret_value()}
            tokens = (await http.post("/api/v1/auth/login", json=body)).raise_for_status().json()
            http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            yield process, http
    finally:
        killed = process.returncode is not None
        if not killed:
            process.terminate()
        code = await process.wait()
    assert killed or code == 0, _end_of(log)


def memory_of(process: Process, field: str) -> int:
    """Bytes: `VmRSS`, what it has now, or `VmHWM`, the most that it had since `reset_high_water`."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def reset_high_water(process: Process) -> None:
    """Else the 64 MiB that checking a password takes for a moment would hide as much of what is measured."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")

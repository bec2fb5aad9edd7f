"""Memory stays flat whatever the size of an upload, measured on a gateway process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from docutalk_common.process import wait_until
from docutalk_local.ports import free_port

MIB = 1 << 20
# Large enough that a copy of it in memory would be seen at once, small enough for seconds.
SIZE = int(os.environ.get("DOCUTALK_TEST_UPLOAD_MIB", "200")) * MIB
LIMIT = 64 * MIB
BLOCK = os.urandom(MIB)


def _memory(pid: int, field: str) -> int:
    """Bytes: `VmRSS`, what a process has now, or `VmHWM`, the most that it had since `_reset_high_water`."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _reset_high_water(pid: int) -> None:
    """Else the 64 MiB that checking a password takes for a moment would hide as much of the upload."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def _form(size: int) -> AsyncIterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    for number in range(size // MIB):
        yield number.to_bytes(8, "big") + BLOCK[8:]
    yield b"\r\n--b--\r\n"


async def test_memory_of_the_gateway_stays_flat_during_a_large_upload(stack: Any, settings_for: Any, tmp_path: Path) -> None:
    settings = settings_for()
    port = free_port()
    environment = {
        **os.environ,
        **stack.service_environment("gateway"),
        "DOCUTALK_PORT": str(port),
        "DOCUTALK_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "DOCUTALK_ADMIN_EMAIL": settings.admin_email,
        "DOCUTALK_ADMIN_PASSWORD": settings.admin_password.get_secret_value(),
    }
    with (tmp_path / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "docutalk_gateway", env=environment, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300) as http:

            async def up() -> bool:
                try:
                    return (await http.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await wait_until(up, seconds=60, what="the gateway is ready")
            body = {"email": settings.admin_email, "password": settings.admin_password.get_secret_value()}
            tokens = (await http.post("/api/v1/auth/login", json=body)).raise_for_status().json()
            http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            workspace = (await http.get("/api/v1/users/me")).json()["default_workspace_id"]
            url = f"/api/v1/workspaces/{workspace}/documents"
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            # The first one loads what is loaded once.
            assert (await http.post(url, content=_form(MIB), headers=headers)).status_code == 202

            _reset_high_water(process.pid)
            before = _memory(process.pid, "VmRSS")
            answer = await http.post(url, content=_form(SIZE), headers=headers)
            grown = _memory(process.pid, "VmHWM") - before
            assert answer.status_code == 202, answer.text

            received = 0
            async with http.stream("GET", answer.headers["location"] + "/content") as content:
                async for chunk in content.aiter_bytes():
                    received += len(chunk)
            grown_by_download = _memory(process.pid, "VmHWM") - before
    finally:
        process.terminate()
        code = await process.wait()
    sys.stdout.write(f"{SIZE // MIB} MiB up: {grown / MIB:.1f} MiB more, and down: {grown_by_download / MIB:.1f} MiB more\n")
    assert received == SIZE
    assert grown < LIMIT
    assert grown_by_download < LIMIT
    assert code == 0, (tmp_path / "gateway.log").read_text()[-3000:]

"""Memory stays flat whatever the size of an upload, measured on a gateway process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from .gateway_process import gateway_process, memory_of, reset_high_water

MIB = 1 << 20
# Large enough that a copy of it in memory would be seen at once, small enough for seconds.
SIZE = int(os.environ.get("DOCUTALK_TEST_UPLOAD_MIB", "200")) * MIB
LIMIT = 64 * MIB
BLOCK = os.urandom(MIB)


async def _form(size: int) -> AsyncIterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    for number in range(size // MIB):
        yield number.to_bytes(8, "big") + BLOCK[8:]
    yield b"\r\n--b--\r\n"


async def test_memory_of_the_gateway_stays_flat_during_a_large_upload(stack: Any, settings_for: Any, tmp_path: Path) -> None:
    async with gateway_process(stack, settings_for(), tmp_path / "gateway.log") as (process, http):
        workspace = (await http.get("/api/v1/users/me")).json()["default_workspace_id"]
        url = f"/api/v1/workspaces/{workspace}/documents"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        # The first one loads what is loaded once.
        assert (await http.post(url, content=_form(MIB), headers=headers)).status_code == 202

        reset_high_water(process)
        before = memory_of(process, "VmRSS")
        answer = await http.post(url, content=_form(SIZE), headers=headers)
        grown = memory_of(process, "VmHWM") - before
        assert answer.status_code == 202, answer.text

        received = 0
        async with http.stream("GET", answer.headers["location"] + "/content") as content:
            async for chunk in content.aiter_bytes():
                received += len(chunk)
        grown_by_download = memory_of(process, "VmHWM") - before
    sys.stdout.write(f"{SIZE // MIB} MiB up: {grown / MIB:.1f} MiB more, and down: {grown_by_download / MIB:.1f} MiB more\n")
    assert received == SIZE
    assert grown < LIMIT
    assert grown_by_download < LIMIT

"""Memory stays flat whatever the size of what is exported and imported, measured on a gateway process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts import ingest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.process import wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_local.testing import TestStack

from .gateway_process import gateway_process, memory_of, reset_high_water
from .portable import THEN, Services

MIB = 1 << 20
# Large enough that a copy of it in memory would be seen at once, small enough for seconds.
SIZE = int(os.environ.get("DOCUTALK_TEST_UPLOAD_MIB", "200")) * MIB
FILE = 40 * MIB
LIMIT = 96 * MIB
BLOCK = os.urandom(MIB)


async def _put_large(services: Services, storage: ObjectStorage, workspace_id: UUID, size: int) -> None:
    document_id = uuid7()
    key = f"{workspace_id}/{document_id}/{uuid4()}.bin"
    digest = hashlib.sha256()

    async def blocks() -> AsyncIterator[bytes]:
        for number in range(size // MIB):
            block = number.to_bytes(8, "big") + BLOCK[8:]
            digest.update(block)
            yield block

    await storage.upload_stream(key, blocks(), content_type="application/octet-stream")
    version = ingest.ExportedVersion(
        version=1,
        filename="large.bin",
        content_type="application/octet-stream",
        size=size,
        sha256=digest.hexdigest(),
        object_key=key,
        created_at=THEN,
    )
    document = ingest.ExportedDocument(document_id=document_id, filename="large.bin", created_at=THEN, versions=[version])
    services.documents.setdefault(workspace_id, {})[document_id] = document


@pytest.fixture
async def services(stack: TestStack) -> AsyncIterator[Services]:
    found = Services()
    async with found.serving(stack):
        yield found


async def test_memory_of_the_gateway_stays_flat_while_a_large_workspace_goes_and_comes(
    stack: TestStack, services: Services, settings_for: Any, tmp_path: Path
) -> None:
    storage = ObjectStorage(ServiceSettings.from_environment(stack.service_environment("gateway")))
    archive = tmp_path / "workspace.zip"
    log = tmp_path / "gateway.log"
    told = []
    async with gateway_process(stack, settings_for(), log) as (process, http):

        async def workspace() -> UUID:
            return UUID((await http.post("/api/v1/workspaces", json={"name": "Large"})).raise_for_status().json()["id"])

        async def export(workspace_id: UUID) -> int:
            async with http.stream("GET", f"/api/v1/workspaces/{workspace_id}/export") as answer:
                answer.raise_for_status()
                with archive.open("wb") as file:
                    async for chunk in answer.aiter_bytes(MIB):
                        file.write(chunk)
            return archive.stat().st_size

        async def content() -> AsyncIterator[bytes]:
            with archive.open("rb") as file:
                while chunk := file.read(MIB):
                    yield chunk

        async def take_in() -> dict[str, Any]:
            answer = await http.post("/api/v1/imports", content=content(), headers={"Content-Type": "application/zip"})
            assert answer.status_code == 202, answer.text
            received = time.perf_counter()
            found: dict[str, Any] = {}

            async def is_final() -> bool:
                found.update((await http.get(answer.headers["location"])).json())
                return found["status"] in {"done", "failed"}

            await wait_until(is_final, seconds=600, what="the import is done", every=0.1)
            assert found["status"] == "done", found
            return {**found, "seconds": time.perf_counter() - received}

        # The first time loads what is loaded once.
        small = await workspace()
        await _put_large(services, storage, small, 8 * MIB)
        await export(small)
        await take_in()

        large = await workspace()
        for _ in range(SIZE // FILE):
            await _put_large(services, storage, large, FILE)
        reset_high_water(process)
        before = memory_of(process, "VmRSS")
        started = time.perf_counter()
        size = await export(large)
        seconds = time.perf_counter() - started
        grown = memory_of(process, "VmHWM") - before
        told.append(f"export: {size / MIB / seconds:.0f} MiB/s, {grown / MIB:.1f} MiB more")
        assert size >= SIZE // FILE * FILE
        assert grown < LIMIT

        reset_high_water(process)
        started = time.perf_counter()
        found = await take_in()
        upload = time.perf_counter() - started - found["seconds"]
        grown = memory_of(process, "VmHWM") - before
        told.append(f"upload: {size / MIB / upload:.0f} MiB/s")
        told.append(f"import: {size / MIB / found['seconds']:.0f} MiB/s, {grown / MIB:.1f} MiB more")
        assert grown < LIMIT
        imported = services.documents[UUID(found["workspace_id"])].values()
        assert sorted(d.versions[0].sha256 for d in imported) == sorted(
            d.versions[0].sha256 for d in services.documents[large].values()
        )
    storage.close()
    sys.stdout.write(f"{size / MIB:.0f} MiB: {', '.join(told)}\n")


async def test_import_of_a_gateway_that_was_killed_is_finished_by_the_next(
    stack: TestStack, services: Services, settings_for: Any, tmp_path: Path
) -> None:
    storage = ObjectStorage(ServiceSettings.from_environment(stack.service_environment("gateway")))
    log = tmp_path / "gateway.log"
    async with gateway_process(stack, settings_for(), log) as (process, http):
        workspace = UUID((await http.post("/api/v1/workspaces", json={"name": "Killed"})).raise_for_status().json()["id"])
        for _ in range(3):
            await _put_large(services, storage, workspace, 3 * MIB)
        archive = (await http.get(f"/api/v1/workspaces/{workspace}/export")).raise_for_status().content
        services.hold = asyncio.Event()
        posted = await http.post("/api/v1/imports", content=archive, headers={"Content-Type": "application/zip"})
        await asyncio.wait_for(services.held.wait(), 30)

        process.kill()
        await process.wait()

    services.hold.set()
    async with gateway_process(stack, settings_for(), log) as (_, http):
        found: dict[str, Any] = {}

        async def is_final() -> bool:
            found.update((await http.get(posted.headers["location"])).json())
            return found["status"] in {"done", "failed"}

        await wait_until(is_final, seconds=150, what="the import is done")
    assert found["status"] == "done", found
    made = UUID(found["workspace_id"])
    assert len(services.documents[made]) == 3
    assert len(await storage.keys(f"{made}/")) == 3  # who was killed has left none behind
    storage.close()

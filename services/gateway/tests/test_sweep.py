"""Deleting what has run out, and objects that belong to nothing."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psutil
import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import ObjectsKnown
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_common.process import cancel_all, wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload, Workspace
from docutalk_gateway.adapters.sole import sole
from docutalk_gateway.use_cases.sweep_expired import sweep_for_ever
from docutalk_gateway.use_cases.sweep_objects import SWEPT, sweep_objects
from docutalk_local.testing import TestStack
from structlog.testing import capture_logs

from .gateway_process import gateway_process


async def test_sweeping_goes_on_after_a_round_that_failed(stack: TestStack) -> None:
    db = Database(stack.app_dsn("gateway"), schema="a_schema_without_tables", pool_size=1)
    with capture_logs() as said:
        sweeping = asyncio.create_task(sweep_for_ever(db, every=0.01))

        async def failed_twice() -> bool:
            return len([entry for entry in said if entry["event"] == "expired rows stay for now"]) >= 2

        try:
            await wait_until(failed_twice, seconds=10, what="a second round has been tried")
        finally:
            await cancel_all([sweeping])
            await db.close()


class Ingest:
    """Answers which objects ingest knows, or not at all."""

    def __init__(self, known: set[str], *, away: bool = False) -> None:
        self.known = known
        self.away = away
        self.asked: list[str] = []

    async def ask(self, _subject: str, question: Any, _response: Any, **_: Any) -> ObjectsKnown:
        """The answer."""
        if self.away:
            raise RequestFailed("unavailable", "the ingest service is not running")
        self.asked += question.keys
        return ObjectsKnown(keys=[key for key in question.keys if key in self.known])


@pytest.fixture
async def storage(stack: TestStack) -> AsyncIterator[ObjectStorage]:
    """A bucket of its own: a sweep looks at everything."""
    found = ObjectStorage(ServiceSettings.from_environment(stack.service_environment("gateway")))
    found.bucket = f"sweep-{uuid4().hex[:12]}"
    await found.ensure_bucket()
    yield found
    await found.delete(await found.keys())
    found.close()


@pytest.fixture
async def db(stack: TestStack) -> AsyncIterator[Database]:
    """The gateway's own."""
    found = Database(stack.app_dsn("gateway"), schema="gateway", pool_size=2)
    yield found
    await found.close()


async def put(storage: ObjectStorage, *keys: str) -> None:
    """Stores small objects."""

    async def one() -> AsyncIterator[bytes]:
        yield b"bytes"

    for key in keys:
        await storage.upload_stream(key, one(), content_type="text/plain")


def a_key(name: str = "file.txt") -> str:
    """A key as uploads have them."""
    return f"{uuid4()}/{uuid4()}/{name}"


OLD, YOUNG = timedelta(seconds=-5), timedelta(hours=1)


async def test_object_that_nobody_knows_is_deleted_and_the_others_stay(storage: ObjectStorage, db: Database) -> None:
    orphan, of_ingest, of_gateway, foreign = a_key(), a_key(), a_key(), "backups/2026.tar"
    await put(storage, orphan, of_ingest, of_gateway, foreign)
    workspace, document = uuid7(), uuid7()
    async with db.transaction(Cause.new()) as tx:
        tx.session.add(Workspace(id=workspace, name="w"))
        await tx.session.flush()
        row = Upload(document_id=document, workspace_id=workspace, uploaded_by=uuid7(), filename="a", content_type="text/plain")
        row.size, row.sha256, row.object_key = 5, "0" * 64, of_gateway
        await repository.add_upload(tx.session, row)
    ingest = Ingest({of_ingest})
    before = SWEPT.labels("object")._value.get()
    assert await sweep_objects(db, storage, ingest, older_than=YOUNG) == 0
    assert await sweep_objects(db, storage, ingest, older_than=OLD) == 1
    assert sorted(await storage.keys()) == sorted([of_ingest, of_gateway, foreign])
    assert SWEPT.labels("object")._value.get() == before + 1
    assert sorted(ingest.asked) == sorted([orphan, of_ingest]), "what is known here, or not ours, is not asked for"


async def test_nothing_is_deleted_while_ingest_does_not_answer(storage: ObjectStorage, db: Database) -> None:
    await put(storage, key := a_key())
    with pytest.raises(RequestFailed):
        await sweep_objects(db, storage, Ingest(set(), away=True), older_than=OLD)
    assert await storage.keys() == [key]


async def test_one_gateway_sweeps_at_a_time(storage: ObjectStorage, db: Database) -> None:
    await put(storage, key := a_key())
    async with sole(db, "object sweep") as alone:
        assert alone
        assert await sweep_objects(db, storage, Ingest(set()), older_than=OLD) == 0
        assert await storage.keys() == [key]
    assert await sweep_objects(db, storage, Ingest(set()), older_than=OLD) == 1


@pytest.mark.skipif(os.environ.get("DOCUTALK_TEST_BACKEND") == "containers", reason="stops a process of the server")
async def test_next_one_may_begin_as_soon_as_the_last_has_ended(db: Database) -> None:
    taking = f"SELECT pg_try_advisory_lock({zlib.crc32(f'{db.schema} object sweep'.encode())})"
    other = await asyncpg.connect(db.dsn)
    async with sole(db, "object sweep") as alone:
        assert (alone, await other.fetchval(taking)) == (True, False)
        pid = await other.fetchval("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory_lock($1)%'")
        holding = psutil.Process(pid)
        holding.suspend()  # it notices half a second late that it is over
        asyncio.get_running_loop().call_later(0.5, holding.resume)
    assert await other.fetchval(taking)
    await other.close()


async def test_listing_comes_in_pages(storage: ObjectStorage) -> None:
    keys = [a_key() for _ in range(7)]
    await put(storage, *keys)
    pages = [page async for page in storage.entries(size=3)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(entry.key for page in pages for entry in page) == sorted(keys)
    assert {entry.size for page in pages for entry in page} == {5}


async def test_upload_whose_gateway_was_killed_is_swept(stack: TestStack, settings_for: Any, tmp_path: Path) -> None:
    """The first file of the request lies in the store, the second is on its way: nobody is left to clean up."""
    settings = settings_for()
    storage = ObjectStorage(settings, threads=2)
    db = Database(stack.app_dsn("gateway"), schema="gateway", pool_size=1)
    try:
        async with gateway_process(stack, settings, tmp_path / "log") as (process, http):
            workspace = (await http.get("/api/v1/users/me")).json()["default_workspace_id"]
            before = set(await storage.keys(f"{workspace}/"))
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'

            async def form() -> AsyncIterator[bytes]:
                yield head % b"whole.txt" + b"whole\r\n" + head % b"half.bin" + b"x" * 100_000
                await asyncio.Event().wait()

            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            sending = asyncio.create_task(http.post(f"/api/v1/workspaces/{workspace}/documents", content=form(), headers=headers))

            async def stored() -> bool:
                return len(set(await storage.keys(f"{workspace}/")) - before) == 1

            await wait_until(stored, seconds=20, what="the first file is stored")
            process.kill()
            await process.wait()
            await cancel_all([sending])
        [orphan] = set(await storage.keys(f"{workspace}/")) - before
        everything = {entry.key async for page in storage.entries() for entry in page}
        await sweep_objects(db, storage, Ingest(everything - {orphan}), older_than=OLD)
        assert set(await storage.keys(f"{workspace}/")) == before
    finally:
        await db.close()
        storage.close()

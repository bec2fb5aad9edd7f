"""The object store over the real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from docutalk_common.errors import DependencyUnavailable, NotFound
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import MIB, ObjectStorage
from docutalk_local.testing import TestStack


@pytest.fixture
async def storage(stack: TestStack) -> AsyncIterator[ObjectStorage]:
    storage = ObjectStorage(ServiceSettings.from_environment(stack.service_environment("gateway")))
    yield storage
    storage.close()


async def pieces(*chunks: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then is not None:
        raise then


async def read(storage: ObjectStorage, key: str, **part: Any) -> bytes:
    return b"".join([chunk async for chunk in storage.iterate(key, **part)])


def unfinished(storage: ObjectStorage) -> list[Any]:
    found = storage._client._list_multipart_uploads(storage.bucket)
    return list(found.uploads)


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 17 * MIB + 3])
async def test_stream_of_any_size_is_stored_byte_for_byte(storage: ObjectStorage, tmp_path: Path, size: int) -> None:
    key = f"{uuid4()}/{uuid4()}/file.bin"
    data = hashlib.shake_128(str(size).encode()).digest(size)
    step = 777_777
    chunks = [data[at : at + step] for at in range(0, size, step)]
    assert await storage.upload_stream(key, pieces(*chunks), content_type="application/pdf", part_size=5 * MIB) == size
    stat = await storage.stat(key)
    assert (stat.size, stat.content_type) == (size, "application/pdf")
    await storage.download(key, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    assert await read(storage, key) == data


@pytest.mark.parametrize("parts", [0, 1, 3])
async def test_upload_whose_sender_fails_leaves_nothing(storage: ObjectStorage, parts: int) -> None:
    key = f"{uuid4()}/{uuid4()}/half.bin"
    before = len(unfinished(storage))
    chunks = [b"x" * 5 * MIB] * parts + [b"rest"]
    with pytest.raises(ConnectionResetError, match="client went away"):
        await storage.upload_stream(
            key,
            pieces(*chunks, then=ConnectionResetError("client went away")),
            content_type="text/plain",
            part_size=5 * MIB,
        )
    assert await storage.keys(key.rpartition("/")[0]) == []
    assert len(unfinished(storage)) == before


async def test_upload_that_is_cancelled_leaves_nothing(storage: ObjectStorage) -> None:
    key = f"{uuid4()}/{uuid4()}/half.bin"
    before = len(unfinished(storage))
    waiting = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b"x" * 6 * MIB
        waiting.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(storage.upload_stream(key, stalls(), content_type="text/plain", part_size=5 * MIB))
    await waiting.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await storage.keys(key.rpartition("/")[0]) == []
    assert len(unfinished(storage)) == before


class _Listing(BaseHTTPRequestHandler):
    """An S3 server with three unfinished uploads in two pages; rclone, which the other tests run on, does not list its own."""

    ended: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        second = "key-marker=ws%2Fyoung" in self.path
        upload = "<Upload><Key>{0}</Key><UploadId>id-{0}</UploadId><Initiated>{1}</Initiated></Upload>"
        uploads = upload.format("ws/older", "2026-01-01T00:00:00.000Z")
        if not second:
            uploads = upload.format("ws/old", "2026-01-01T00:00:00.000Z") + upload.format("ws/young", "2026-01-03T00:00:00.000Z")
            uploads += "<NextKeyMarker>ws/young</NextKeyMarker>"
        more = str(not second).lower()
        self._answer(200, f"<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated>{uploads}</ListMultipartUploadsResult>")

    def do_DELETE(self) -> None:
        self.ended.append(self.path.partition("?")[0])
        self._answer(204, "")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


async def test_unfinished_uploads_are_ended_once_they_are_old(stack: TestStack) -> None:
    settings = ServiceSettings.from_environment(stack.service_environment("gateway"))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Listing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        storage = ObjectStorage(settings.model_copy(update={"s3_endpoint": f"127.0.0.1:{server.server_port}"}))
        try:
            ended = await storage.abort_unfinished(datetime(2026, 1, 2, tzinfo=UTC))
        finally:
            storage.close()
            server.shutdown()
            thread.join()
    assert ended == 2
    assert _Listing.ended == [f"/{settings.s3_bucket}/ws/old", f"/{settings.s3_bucket}/ws/older"]


async def test_store_that_lists_no_unfinished_uploads_has_none(storage: ObjectStorage) -> None:
    assert await storage.abort_unfinished(datetime.now(UTC)) == 0


async def test_senders_that_stall_do_not_stop_anyone_else(storage: ObjectStorage) -> None:
    """More of them than the storage has threads."""
    started = 0

    async def stalls() -> AsyncIterator[bytes]:
        nonlocal started
        yield b"x" * 100
        started += 1
        await asyncio.Event().wait()

    stuck = [asyncio.create_task(storage.upload_stream(f"stuck/{n}", stalls(), content_type="text/plain")) for n in range(40)]
    try:
        async with asyncio.timeout(10):
            key = f"{uuid4()}/ok"
            assert await storage.upload_stream(key, pieces(b"a" * 100), content_type="text/plain") == 100
            assert await read(storage, key) == b"a" * 100
        assert started == 40
    finally:
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_range_of_an_object_can_be_read(storage: ObjectStorage) -> None:
    key = str(uuid4())
    await storage.upload_stream(key, pieces(b"0123456789"), content_type="text/plain")
    assert await read(storage, key, offset=3) == b"3456789"
    assert await read(storage, key, offset=3, length=4) == b"3456"
    assert await read(storage, key, offset=0, length=1) == b"0"
    assert await read(storage, key, offset=3, length=0) == b""
    assert await read(storage, key, offset=8, length=100) == b"89"
    assert await read(storage, key, chunk_size=3) == b"0123456789"


async def test_missing_object_is_not_found_for_every_way_to_read_it(storage: ObjectStorage, tmp_path: Path) -> None:
    # An id with 404 in it, and one without.
    for key in (f"{uuid4()}/missing", "a404b/missing"):
        with pytest.raises(NotFound):
            await storage.stat(key)
        with pytest.raises(NotFound):
            await storage.download(key, tmp_path / "x")
        with pytest.raises(NotFound):
            await read(storage, key)
        with pytest.raises(NotFound):
            await read(storage, key, offset=2, length=2)
    assert os.listdir(tmp_path) == []


async def test_deleting_is_final_and_may_be_repeated(storage: ObjectStorage) -> None:
    folder = str(uuid4())
    keys = [f"{folder}/{n}" for n in range(3)]
    for key in keys:
        await storage.upload_stream(key, pieces(b"x"), content_type="text/plain")
    await storage.delete(keys[:2])
    await storage.delete([*keys[:2], f"{folder}/never-there"])
    await storage.delete([])
    assert await storage.keys(folder + "/") == keys[2:]


async def test_store_that_is_away_is_an_unavailable_dependency_and_works_again_later(
    storage: ObjectStorage, stack: TestStack, tmp_path: Path
) -> None:
    key = str(uuid4())
    await storage.upload_stream(key, pieces(b"x"), content_type="text/plain")
    await stack.backend.stop_server("storage")
    try:
        for attempt in (
            storage.ping(),
            storage.stat(key),
            storage.download(key, tmp_path / "x"),
            storage.delete([key]),
            read(storage, key),
            storage.upload_stream(str(uuid4()), pieces(b"x"), content_type="text/plain"),
            storage.upload_stream(str(uuid4()), pieces(b"x" * 9 * MIB), content_type="text/plain"),
        ):
            with pytest.raises(DependencyUnavailable) as failed:
                await attempt
            assert failed.value.dependency == "storage"
    finally:
        await stack.backend.start_server("storage")
    await storage.ping()
    assert await read(storage, key) == b"x"


async def test_disk_that_cannot_be_written_is_not_blamed_on_the_store(storage: ObjectStorage, tmp_path: Path) -> None:
    key = str(uuid4())
    await storage.upload_stream(key, pieces(b"x"), content_type="text/plain")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises((OSError, ValueError), match="file"):
        await storage.download(key, tmp_path / "file" / "below")


_LARGE = """
import asyncio, sys
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import MIB, ObjectStorage

async def chunks(count):
    block = bytes(64 * 1024)
    for _ in range(count * 16):
        yield block

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

async def main(key):
    storage = ObjectStorage(ServiceSettings())
    await storage.upload_stream(key, chunks(20), content_type="text/plain")
    before = peak()
    size = await storage.upload_stream(key, chunks(200), content_type="text/plain")
    read = 0
    async for chunk in storage.iterate(key):
        read += len(chunk)
    await storage.delete([key])
    storage.close()
    print(size // MIB, read // MIB, peak() - before)

asyncio.run(main(sys.argv[1]))
"""


async def test_two_hundred_megabytes_go_up_and_down_with_flat_memory(stack: TestStack) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LARGE, str(uuid4()), env=stack.service_environment("gateway"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    size, read_back, grown = (int(value) for value in out.split())
    assert (size, read_back) == (200, 200)
    # Against a warm process that has moved 20 MiB: nothing that grows with the size.
    assert grown <= 24, f"{grown} MiB more"


async def test_object_is_stored_while_the_last_other_one_of_its_folder_goes(storage: ObjectStorage) -> None:
    """The embedded store removes an empty folder, and answers 500 to what was to be stored there at that moment."""

    folder, keys = uuid4().hex, [f"{n}" for n in range(300)]
    for before, key in itertools.pairwise(keys):
        await asyncio.gather(
            storage.delete([f"{folder}/{before}"]),
            storage.upload_stream(f"{folder}/{key}", pieces(b"x"), content_type="text/plain"),
        )
    assert await storage.keys(f"{folder}/") == [f"{folder}/{keys[-1]}"]

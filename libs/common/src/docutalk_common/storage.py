"""The object store, by the S3 protocol. The MinIO client blocks, so each call runs in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError

from docutalk_common.errors import DependencyUnavailable, NotFound
from docutalk_common.settings import ServiceSettings

MIB = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectStat:
    """Size in bytes and what the store knows of an object."""

    size: int
    etag: str
    content_type: str


class UploadAborted(Exception):
    """The source of an upload ended early; nothing was stored."""


class _ChunkReader:
    """A blocking file of the chunks that a coroutine puts in: at most two wait, so that a slow store slows the sender."""

    def __init__(self) -> None:
        self._chunks: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=2)
        self._rest = b""
        self._ended = False
        self.closed = threading.Event()
        self.size = 0

    def put(self, item: bytes | BaseException | None) -> None:
        """Called in a thread. Gives up when the reader is gone."""
        while not self.closed.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(item, timeout=0.2)
                return

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer at the end."""
        parts = [self._rest]
        have = len(self._rest)
        self._rest = b""
        while not self._ended and (size < 0 or have < size):
            item = self._chunks.get()
            if item is None:
                self._ended = True
            elif isinstance(item, BaseException):
                raise UploadAborted from item
            else:
                parts.append(item)
                have += len(item)
        data = b"".join(parts)
        if size >= 0 and have > size:
            self._rest = data[size:]
            data = data[:size]
        self.size += len(data)
        return data


@contextlib.contextmanager
def _storage_errors(key: str = "") -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in {"NoSuchKey", "NoSuchBucket", "NoSuchUpload"}:
            raise NotFound(f"the object store has no object {key}") from error
        if error.code in {"InternalError", "SlowDown", "ServiceUnavailable"}:
            raise DependencyUnavailable("storage", str(error)) from error
        raise
    except InvalidResponseError as error:
        # rclone sends its XML errors as text/xml, which the client does not read; the status is in the text.
        if "404" in str(error):
            raise NotFound(f"the object store has no object {key}") from error
        raise DependencyUnavailable("storage", str(error)) from error
    except (ServerError, urllib3.exceptions.HTTPError, OSError) as error:
        raise DependencyUnavailable("storage", str(error)) from error


class ObjectStorage:
    """One bucket. Raises `NotFound` for a missing object and `DependencyUnavailable("storage")` while the store is away."""

    def __init__(self, settings: ServiceSettings, *, threads: int = 16) -> None:
        self.bucket = settings.s3_bucket
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="storage")
        self._client = Minio(
            settings.s3_endpoint,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            secure=settings.s3_secure,
            region=settings.s3_region,
            http_client=urllib3.PoolManager(
                maxsize=threads,
                timeout=urllib3.Timeout(connect=3, read=60),
                retries=urllib3.Retry(total=1, backoff_factor=0.2, status_forcelist=(502, 503, 504)),
            ),
        )

    async def _run(self, function: Callable[[], T], key: str = "") -> T:
        def call() -> T:
            with _storage_errors(key):
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def ensure_bucket(self) -> None:
        """Makes the bucket if it is missing. For provisioning."""

        def make() -> None:
            if not self._client.bucket_exists(self.bucket):
                self._client.make_bucket(self.bucket)

        await self._run(make)

    async def ping(self) -> None:
        """Raises `DependencyUnavailable` unless the bucket can be seen."""
        if not await self._run(lambda: self._client.bucket_exists(self.bucket)):
            raise DependencyUnavailable("storage", f"there is no bucket {self.bucket}")

    async def upload_stream(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, part_size: int = 8 * MIB) -> int:
        """Stores what `chunks` yields and returns its size. Memory: about two parts, whatever the size.

        When `chunks` raises, nothing is stored (an open multipart upload is aborted) and the exception is raised here.
        """
        reader = _ChunkReader()

        def put() -> None:
            try:
                self._client.put_object(
                    self.bucket,
                    key,
                    cast("BinaryIO", reader),
                    length=-1,
                    part_size=part_size,
                    content_type=content_type,
                    num_parallel_uploads=1,
                )
            finally:
                reader.closed.set()

        loop = asyncio.get_running_loop()
        upload = asyncio.ensure_future(self._run(put, key))

        async def feed(item: bytes | BaseException | None) -> None:
            await loop.run_in_executor(self._pool, reader.put, item)

        try:
            pending = bytearray()
            async for chunk in chunks:
                pending += chunk
                # Handing over a megabyte at a time keeps the thread switches rare.
                if len(pending) >= MIB:
                    if reader.closed.is_set():
                        break
                    await feed(bytes(pending))
                    pending.clear()
            if pending:
                await feed(bytes(pending))
            await feed(None)
        except BaseException as error:
            await asyncio.shield(self._abort(reader, upload, error))
            raise
        await upload
        return reader.size

    async def _abort(self, reader: _ChunkReader, upload: asyncio.Future[None], error: BaseException) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, reader.put, error)
        with contextlib.suppress(Exception):
            await upload

    async def download(self, key: str, path: Path) -> None:
        """Writes the object to `path`."""
        await self._run(lambda: self._client.fget_object(self.bucket, key, str(path)), key)

    async def iterate(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_size: int = 256 * 1024
    ) -> AsyncIterator[bytes]:
        """The bytes of an object, or of a part of it, as they come."""
        response: Any = await self._run(lambda: self._client.get_object(self.bucket, key, offset=offset, length=length or 0), key)
        try:
            while chunk := await self._run(lambda: response.read(chunk_size), key):
                yield chunk
        finally:
            response.close()
            response.release_conn()

    async def stat(self, key: str) -> ObjectStat:
        """What the store knows of an object."""
        found = await self._run(lambda: self._client.stat_object(self.bucket, key), key)
        return ObjectStat(size=found.size or 0, etag=found.etag or "", content_type=found.content_type or "")

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes; keys that do not exist are fine."""

        def remove() -> None:
            for failure in self._client.remove_objects(self.bucket, [DeleteObject(key) for key in keys]):
                if failure.code != "NoSuchKey":
                    raise DependencyUnavailable("storage", f"could not delete {failure.name}: {failure.message}")

        with contextlib.suppress(NotFound):
            await self._run(remove)

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key under a prefix."""
        return await self._run(
            lambda: [item.object_name or "" for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True)]
        )

    def close(self) -> None:
        """Lets the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

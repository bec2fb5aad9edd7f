"""The object store, by the S3 protocol. The MinIO client blocks, so each call runs in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from minio import Minio
from minio.datatypes import Part
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from minio.helpers import DictType

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


@dataclass(frozen=True)
class ObjectEntry:
    """An object as a listing shows it."""

    key: str
    size: int
    modified_at: datetime


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
        # Not just "404" somewhere: an id in the address may contain it.
        if re.search(r"[Rr]esponse code: 404\b", str(error)):
            raise NotFound(f"the object store has no object {key}") from error
        raise DependencyUnavailable("storage", str(error)) from error
    except (ServerError, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise DependencyUnavailable("storage", str(error)) from error


class _Upload:
    """One object in the making: nothing of it can be seen before `finish`. Called in threads, one call at a time.

    The client's own `put_object` reads a stream inside one thread: as many slow senders as there are threads stop all else.
    """

    def __init__(self, client: Minio, bucket: str, key: str, content_type: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._content_type = content_type
        self._id: str | None = None
        self._parts: list[Part] = []
        self.size = 0

    def part(self, data: bytes) -> None:
        """Sends one part of at least 5 MiB, but for the last."""
        if self._id is None:
            headers: DictType = {"Content-Type": self._content_type}
            self._id = self._client._create_multipart_upload(self._bucket, self._key, headers)
        number = len(self._parts) + 1
        etag = self._client._upload_part(self._bucket, self._key, data, None, self._id, number)
        self._parts.append(Part(number, etag))
        self.size += len(data)

    def finish(self, rest: bytes) -> None:
        """Sends what is left and makes the object visible."""
        if self._id is None:
            self._client.put_object(self._bucket, self._key, io.BytesIO(rest), len(rest), content_type=self._content_type)
            self.size = len(rest)
            return
        if rest:
            self.part(rest)
        self._client._complete_multipart_upload(self._bucket, self._key, self._id, self._parts)
        self._id = None

    def abort(self) -> None:
        """Forgets the parts sent so far. Whatever goes wrong here, the store's own expiry of uploads remains."""
        if self._id is not None:
            with contextlib.suppress(MinioException, urllib3.exceptions.HTTPError, OSError):
                self._client._abort_multipart_upload(self._bucket, self._key, self._id)


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
                # rclone removes an empty folder, and answers 500 to what was to be stored there at that moment.
                retries=urllib3.Retry(total=1, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
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

        A thread is used only while a whole part is sent, never while waiting for a slow sender. When `chunks` raises, nothing
        is stored (an open multipart upload is aborted) and the exception is raised here.
        """
        upload = _Upload(self._client, self.bucket, key, content_type)
        pending = bytearray()
        try:
            async for chunk in chunks:
                pending += chunk
                while len(pending) >= part_size:
                    part = bytes(pending[:part_size])
                    del pending[:part_size]
                    await self._run(functools.partial(upload.part, part), key)
            await self._run(functools.partial(upload.finish, bytes(pending)), key)
        except BaseException:
            # Shielded: a cancelled request must not leave its parts behind.
            await asyncio.shield(asyncio.ensure_future(self._run(upload.abort, key)))
            raise
        return upload.size

    async def download(self, key: str, path: Path) -> None:
        """Writes the object to `path`."""
        await self._run(lambda: self._client.fget_object(self.bucket, key, str(path)), key)

    async def iterate(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_size: int = 256 * 1024
    ) -> AsyncIterator[bytes]:
        """The bytes of an object, or of a part of it, as they come."""
        if length == 0:
            return  # to the client, 0 means all
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

    async def entries(self, prefix: str = "", *, size: int = 1000) -> AsyncIterator[list[ObjectEntry]]:
        """Every object under a prefix, `size` at a time, as the store lists them: however many there are, few are in memory."""
        listing = self._client.list_objects(self.bucket, prefix=prefix, recursive=True)

        def following() -> list[ObjectEntry]:
            return [
                ObjectEntry(found.object_name or "", found.size or 0, found.last_modified or datetime.now(UTC))
                for found in itertools.islice(listing, size)
            ]

        while page := await self._run(following):
            yield page

    async def abort_unfinished(self, before: datetime) -> int:
        """Forgets uploads that were begun before `before` and never ended; how many. A store that does not list them has none."""

        def abort() -> int:
            count, marker = 0, None
            while True:
                try:
                    found = self._client._list_multipart_uploads(self.bucket, key_marker=marker, max_uploads=1000)
                except S3Error as error:
                    if error.code in {"NotImplemented", "MethodNotAllowed"}:
                        return count
                    raise
                for upload in found.uploads:
                    begun, number = upload.initiated_time, upload.upload_id
                    if begun is not None and begun < before and number is not None:
                        self._client._abort_multipart_upload(self.bucket, upload.object_name, number)
                        count += 1
                marker = found.next_key_marker
                if not found.is_truncated or not marker:
                    return count

        try:
            return await self._run(abort)
        except NotFound:
            # What rclone answers as long as there was none, and anybody for one that has just ended.
            return 0

    def close(self) -> None:
        """Lets the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

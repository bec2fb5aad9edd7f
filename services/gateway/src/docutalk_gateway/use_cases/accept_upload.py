"""Files become objects, and then, all of a request in one transaction, documents (or the next version of one) that are certain
to be processed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

from docutalk_common import content_type as content
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload
from docutalk_gateway.domain import BytesAlreadyHere, FileTooLarge, key_extension
from docutalk_gateway.use_cases.go_after_a_deadlock import one_after_the_other
from docutalk_gateway.use_cases.keep_quota import Room, StorageQuota, hold_open

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(frozen=True)
class StoredFile:
    """A file that lies whole in the object store, and nowhere else yet."""

    document_id: UUID
    key: str
    filename: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Accepted:
    """`duplicate_of` is set when the workspace had these bytes already; `id` is then that document."""

    id: UUID
    filename: str
    duplicate_of: UUID | None = None


@dataclass(frozen=True)
class AcceptedVersion:
    """`unchanged`: the document has these bytes already, as its current version, which is `version`."""

    version: int
    unchanged: bool = False


class UploadRequest:
    """The files of one request. `add` each, then `commit` or `commit_version`; `discard` whatever was not committed, on every
    way out."""

    def __init__(
        self, storage: ObjectStorage, db: Database, *, workspace_id: UUID, max_bytes: int, quota: StorageQuota | None = None
    ) -> None:
        """`max_bytes` is of one file, `quota` of the whole workspace."""
        self._storage = storage
        self._db = db
        self._quota = quota
        self._workspace_id = workspace_id
        self._max_bytes = max_bytes
        self._loose: set[str] = set()
        self._committing: asyncio.Future[Any] | None = None
        self.files: list[StoredFile] = []

    async def add(self, filename: str, chunks: AsyncIterator[bytes], *, document_id: UUID | None = None) -> None:
        """Streams a file into the object store, for a new document or for the one that is named. Raises `FileTooLarge`,
        `DependencyUnavailable`, and what `chunks` raises."""
        document_id = document_id or uuid7()
        head, rest = await _split_head(chunks)
        media_type = content.detect(head, filename)
        key = f"{self._workspace_id}/{document_id}/{uuid4()}{key_extension(filename)}"
        self._loose.add(key)
        digest = hashlib.sha256()
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in rest:
                size += len(chunk)
                if size > self._max_bytes:
                    raise FileTooLarge(filename, self._max_bytes)
                digest.update(chunk)
                yield chunk

        stored = await self._storage.upload_stream(key, counted(), content_type=media_type)
        assert stored == size, f"{stored} of {size} bytes were stored"
        self.files.append(StoredFile(document_id, key, filename, media_type, size, digest.hexdigest()))

    async def commit(self, cause: Cause, *, uploaded_by: UUID, auto_classify: bool) -> list[Accepted]:
        """All files or none: rows and `DocumentUploaded` in one transaction. Bytes that the workspace has already, also those
        of a request that is racing this one, become that document. In the order of `files`.

        Raises `QuotaExceeded`, `WorkspaceArchived`, and `NotFound` when the workspace, or who uploads, was deleted meanwhile.
        """
        room = await self._room()
        accepted = await self._whole(lambda: self._commit(cause, uploaded_by, auto_classify, room))
        fresh = {item.id for item in accepted if item.duplicate_of is None}
        self._loose -= {file.key for file in self.files if file.document_id in fresh}
        return accepted

    async def commit_version(self, cause: Cause, *, uploaded_by: UUID, auto_classify: bool) -> AcceptedVersion:
        """The one file of this request becomes the current version of its document, or nothing when it is that already.

        Raises as `commit`, `NotFound` for a document that was not uploaded (or is deleted), `BytesAlreadyHere` when another one
        has them.
        """
        room = await self._room()
        accepted = await self._whole(lambda: self._commit_version(cause, uploaded_by, auto_classify, room))
        if not accepted.unchanged:
            self._loose.clear()
        return accepted

    async def _room(self) -> Room:
        return await self._quota.room_of(self._workspace_id) if self._quota is not None else Room(self._workspace_id)

    async def _whole(self, commit: Callable[[], Awaitable[T]]) -> T:
        # Not to be torn apart when the request is cancelled: from here on it is a document or it is not.
        committing = asyncio.ensure_future(one_after_the_other(commit))
        self._committing = committing
        done = await asyncio.shield(committing)
        self._committing = None
        return done

    async def _commit_version(self, cause: Cause, uploaded_by: UUID, auto_classify: bool, room: Room) -> AcceptedVersion:
        [file] = self.files
        async with self._db.transaction(cause) as tx:
            await hold_open(tx.session, self._workspace_id, uploaded_by)
            await repository.lock_versions(tx.session, file.document_id)
            await room.lock(tx.session)
            current = await repository.upload_of(tx.session, self._workspace_id, file.document_id)
            if current is None:
                raise NotFound("There is no such document.")
            if current.sha256 == file.sha256:
                return AcceptedVersion(current.version, unchanged=True)
            version = current.version + 1
            await repository.supersede_upload(tx.session, current, datetime.now(UTC))
            while not await repository.add_upload(tx.session, self._row(file, uploaded_by, version)):
                other = await repository.upload_by_hash(tx.session, self._workspace_id, file.sha256)
                if other is not None:
                    raise BytesAlreadyHere(other.filename, other.document_id)
            await room.check(tx.session, new_documents=False)
            tx.emit(_uploaded(file, self._workspace_id, uploaded_by, auto_classify, version))
        return AcceptedVersion(version)

    def _row(self, file: StoredFile, uploaded_by: UUID, version: int = 1) -> Upload:
        return Upload(
            document_id=file.document_id,
            version=version,
            workspace_id=self._workspace_id,
            uploaded_by=uploaded_by,
            filename=file.filename,
            content_type=file.content_type,
            size=file.size,
            sha256=file.sha256,
            object_key=file.key,
        )

    async def _commit(self, cause: Cause, uploaded_by: UUID, auto_classify: bool, room: Room) -> list[Accepted]:
        results: dict[UUID, Accepted] = {}
        async with self._db.transaction(cause) as tx:
            await hold_open(tx.session, self._workspace_id, uploaded_by)
            await room.lock(tx.session)
            # In the order of their hashes: two requests with the same files would else wait for each other.
            for file in sorted(self.files, key=lambda f: f.sha256):
                row = self._row(file, uploaded_by)
                while not await repository.add_upload(tx.session, row):
                    existing = await repository.upload_by_hash(tx.session, self._workspace_id, file.sha256)
                    # None: deleted between the two statements, so the next try gets in.
                    if existing is not None:
                        results[file.document_id] = Accepted(existing.document_id, existing.filename, existing.document_id)
                        break
                else:
                    results[file.document_id] = Accepted(file.document_id, file.filename)
                    tx.emit(_uploaded(file, self._workspace_id, uploaded_by, auto_classify))
            if any(accepted.duplicate_of is None for accepted in results.values()):
                await room.check(tx.session)
        return [results[file.document_id] for file in self.files]

    async def discard(self) -> None:
        """Removes every object that did not become a document. Never raises: the request has its own outcome to tell."""
        if not self._loose:
            return
        try:
            if self._committing is not None:
                await asyncio.wait({self._committing})
                async with self._db.read() as session:
                    # A commit whose outcome is unknown may have made documents of them all the same.
                    self._loose -= await repository.known_objects(session, sorted(self._loose))
            if self._loose:
                await self._storage.delete(sorted(self._loose))
        except Exception as error:
            # An object too many is better than a document without its bytes, and than an error for what was accepted.
            reason = f"{type(error).__name__}: {error}"
            log.warning("objects of a failed upload stay behind", count=len(self._loose), reason=reason)


def _uploaded(file: StoredFile, workspace_id: UUID, uploaded_by: UUID, auto_classify: bool, version: int = 1) -> DocumentUploaded:
    return DocumentUploaded(
        workspace_id=workspace_id,
        document_id=file.document_id,
        version=version,
        object_key=file.key,
        filename=file.filename,
        content_type=file.content_type,
        size=file.size,
        sha256=file.sha256,
        uploaded_by=uploaded_by,
        auto_classify=auto_classify,
    )


def fingerprint_parts(files: Sequence[tuple[str, str]], auto_classify: bool) -> list[bytes]:
    """What makes two uploads the same request: names and hashes, in order, and the option."""
    parts = [b"1" if auto_classify else b"0"]
    for filename, sha256 in files:
        parts += [filename.encode(), sha256.encode()]
    return parts


async def _split_head(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first bytes, enough to tell the type, and all bytes."""
    pieces: list[bytes] = []
    length = 0
    async for chunk in chunks:
        pieces.append(chunk)
        length += len(chunk)
        if length >= content.HEAD_BYTES:
            break
    head = b"".join(pieces)

    async def everything() -> AsyncIterator[bytes]:
        if head:
            yield head
        async for chunk in chunks:
            yield chunk

    return head[: content.HEAD_BYTES], everything()

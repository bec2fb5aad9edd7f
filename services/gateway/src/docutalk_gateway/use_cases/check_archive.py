"""Everything in an archive is looked at before anything is made of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from docutalk_gateway.adapters import workspace_archive
from docutalk_gateway.adapters.stored_zip import StoredZip
from docutalk_gateway.adapters.workspace_archive import DocumentLine, FileVersion, MessageLine, SessionLine, WorkspaceArchive
from docutalk_gateway.domain import ArchiveRefused, Limits

# Of an archive whose files are stored as they are. Records become a tenth of their size, zeros a thousandth.
RATIO_MAX = 100
RATIO_APPLIES_FROM = 16 << 20


@dataclass
class ArchiveIds:
    """The ids of all records: each is there once."""

    workspace_id: UUID
    sources: set[UUID] = field(default_factory=set)
    documents: set[UUID] = field(default_factory=set)
    sessions: set[UUID] = field(default_factory=set)
    messages: set[UUID] = field(default_factory=set)


@dataclass(frozen=True)
class SizeLimits:
    """In bytes: of an archive with all that is packed in it, and of one file in it. `quota` is what a workspace may hold."""

    archive: int
    file: int
    quota: Limits


def check_sizes(zipped: StoredZip, packed: int, limits: SizeLimits) -> None:
    """To be called before anything is unpacked. Raises `ArchiveRefused`."""
    unpacked = sum(entry.size for entry in zipped.entries.values())
    if unpacked > limits.archive:
        raise ArchiveRefused(f"The archive would have {unpacked} bytes when it is unpacked; the limit is {limits.archive}.")
    if unpacked > max(RATIO_APPLIES_FROM, RATIO_MAX * packed):
        raise ArchiveRefused(
            f"The archive would have {unpacked} bytes when it is unpacked: no workspace's can be packed so small."
        )
    for entry in zipped.entries.values():
        if entry.name.startswith("files/") and entry.size > limits.file:
            raise ArchiveRefused(f"{entry.name} is larger than the {limits.file} bytes that a file may have here.")


async def check_archive(archive: WorkspaceArchive, limits: SizeLimits, *, with_files: bool = True) -> ArchiveIds:
    """The ids of what is in it, when every record, every reference and every file is as it should be; `with_files` says whether
    files are unpacked and their hashes compared. Raises `ArchiveRefused`, `DependencyUnavailable`."""
    ids = ArchiveIds(archive.manifest.workspace.id)
    async for source in archive.sources():
        _add(ids.sources, source.source_id, workspace_archive.SOURCES)
    files, size = 0, 0
    async for document in archive.documents():
        _add(ids.documents, document.document_id, workspace_archive.DOCUMENTS)
        if document.source_id is not None and document.source_id not in ids.sources:
            raise _wrong(workspace_archive.DOCUMENTS, f"the source of {document.document_id} is not in the archive")
        for version in document.versions:
            await _check_file(archive, document, version, with_files=with_files)
            files, size = files + 1, size + version.size
    await _check_sessions(archive, ids)
    _check_counts(archive, ids, files)
    _check_quota(limits.quota, len(ids.documents), size)
    return ids


async def _check_file(archive: WorkspaceArchive, document: DocumentLine, version: FileVersion, *, with_files: bool) -> None:
    if version.path is None:
        raise ArchiveRefused(
            "The archive was exported without its files, and documents cannot be made without them. Export it with"
            " include_files=true."
        )
    entry = archive.zipped.entries.get(version.path)
    if entry is None or entry.size != version.size:
        raise ArchiveRefused(f"{version.path} is missing, or not as large as documents.jsonl says.")
    if with_files:
        digest = hashlib.sha256()
        async for _ in archive.zipped.read(entry, digest):
            pass
        check_hash(version, digest.hexdigest())


def check_hash(version: FileVersion, sha256: str) -> None:
    """Raises `ArchiveRefused` when a file is not what its line says."""
    if sha256 != version.sha256:
        raise ArchiveRefused(f"{version.path} is not what documents.jsonl says: it was changed or damaged.")


async def _check_sessions(archive: WorkspaceArchive, ids: ArchiveIds) -> None:
    session_id: UUID | None = None
    questions: set[UUID] = set()
    async for record in archive.sessions():
        if isinstance(record, SessionLine):
            _add(ids.sessions, record.session_id, workspace_archive.SESSIONS)
            session_id, questions = record.session_id, set()
            continue
        _add(ids.messages, record.message_id, workspace_archive.SESSIONS)
        _check_place(record, session_id, questions)
        if record.role == "user":
            questions.add(record.message_id)


def _check_place(message: MessageLine, session_id: UUID | None, questions: set[UUID]) -> None:
    if message.session_id != session_id:
        raise _wrong(workspace_archive.SESSIONS, f"the message {message.message_id} does not stand in its conversation")
    if message.reply_to is not None and message.reply_to not in questions:
        raise _wrong(workspace_archive.SESSIONS, f"the message {message.message_id} answers nothing that is before it")


def _check_counts(archive: WorkspaceArchive, ids: ArchiveIds, files: int) -> None:
    counts = archive.manifest.counts
    found = (len(ids.documents), files, len(ids.sources), len(ids.sessions), len(ids.messages))
    if found != (counts.documents, counts.files, counts.sources, counts.sessions, counts.messages):
        raise _wrong(workspace_archive.MANIFEST, "the counts are not those of what is in the archive")
    # All that is expected was found, and nothing twice: whatever else there is, nobody named.
    if len(archive.zipped.entries) != files + len(archive.manifest.parts) + 1:
        raise ArchiveRefused("The archive holds files that no document names.")


def _check_quota(quota: Limits, documents: int, size: int) -> None:
    for what, most, count in (("documents", quota.max_documents, documents), ("bytes", quota.max_bytes, size)):
        if most is not None and count > most:
            raise ArchiveRefused(f"A workspace may hold {most:,} {what} here; that of this archive has {count:,}.")


def _add(ids: set[UUID], id_: UUID, path: str) -> None:
    if id_ in ids:
        raise _wrong(path, f"{id_} is there twice")
    ids.add(id_)


def _wrong(path: str, what: str) -> ArchiveRefused:
    return ArchiveRefused(f"{path}: {what}.")

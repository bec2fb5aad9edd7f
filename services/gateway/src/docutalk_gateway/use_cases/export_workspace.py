"""A workspace leaves as an archive, made while it is sent."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable, NotFound
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger
from stream_zip import ZIP_AUTO, AsyncMemberFile, async_stream_zip

from docutalk_gateway.adapters import repository, workspace_archive
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.export_repository import unseen_versions
from docutalk_gateway.adapters.models import Upload
from docutalk_gateway.adapters.record_spool import RecordSpool
from docutalk_gateway.adapters.workspace_archive import ArchivedWorkspace, Counts, DocumentLine, FileVersion, Manifest, Part
from docutalk_gateway.domain import Conflict

log = get_logger(__name__)

PAGE_SECONDS = 30.0
# 1.8 GB/s with pieces of this size, 0.35 GB/s with 64 KiB: each goes to a thread and back.
PIECE = 1 << 20
# Files are put in as they are: most are compressed formats, and the least compression would make 50 to 100 MB/s of it.
STORED, LIGHT = 0, 1
# The same state gives the same bytes.
MADE_AT = datetime(1980, 1, 1)  # noqa: DTZ001  a ZIP archive knows no time zones
MODE = stat.S_IFREG | 0o644


@dataclass(frozen=True)
class ExportRequest:
    """What is wanted: of which workspace, by whom, and whether with files and with this person's conversations."""

    workspace_id: UUID
    user_id: UUID
    include_files: bool = True
    include_sessions: bool = True


@dataclass
class WorkspaceExport:
    """All records of a workspace as they were at one time, set aside, to be sent with the files that they name. `slots` are for
    those who make the next piece of an archive, each in a thread; nobody holds one while a client reads slowly."""

    slots: asyncio.Semaphore
    storage: ObjectStorage
    requests: RequestClient
    cause: Cause
    request: ExportRequest
    workspace: ArchivedWorkspace
    settings: workspace_archive.Settings
    files: int = 0
    """How many files will come, and with how many `file_bytes`."""
    file_bytes: int = 0
    messages: int = 0
    documents: RecordSpool = field(default_factory=RecordSpool)
    sources: RecordSpool = field(default_factory=RecordSpool)
    sessions: RecordSpool = field(default_factory=RecordSpool)
    sent: RecordSpool = field(default_factory=RecordSpool)
    """The lines of `documents.jsonl`: only what is in the archive by then is named there."""
    sent_files: int = 0

    def close(self) -> None:
        """Frees what was set aside."""
        for spool in (self.documents, self.sources, self.sessions, self.sent):
            spool.close()

    async def stream(self) -> AsyncIterator[bytes]:
        """The archive. Raises when something cannot be read: whoever receives it must see that it is not whole."""
        archive = aiter(async_stream_zip(self._members(), chunk_size=PIECE, extended_timestamps=False))
        try:
            while True:
                async with self.slots:
                    piece = await anext(archive, b"")
                if not piece:
                    return
                yield piece
        finally:
            self.close()

    async def _members(self) -> AsyncIterator[AsyncMemberFile]:
        # Files first: by the end it is known which of them are there.
        for record in self.documents.records():
            document = ingest.ExportedDocument.model_validate_json(record)
            versions: list[FileVersion] = []
            for version in document.versions:
                path = workspace_archive.path_of(document.document_id, version.version, version.filename)
                if self.request.include_files:
                    content = await self._open(document.document_id, version)
                    if content is None:
                        continue
                    self.sent_files += 1
                    yield _member(path, version.size, STORED, content)
                versions.append(_file_version(version, path if self.request.include_files else None))
            if versions:
                self.sent.add(_document_line(document, versions).model_dump_json().encode())
        parts = {workspace_archive.DOCUMENTS: self.sent, workspace_archive.SOURCES: self.sources}
        if self.request.include_sessions:
            parts[workspace_archive.SESSIONS] = self.sessions
        for path, spool in parts.items():
            yield _member(path, spool.size, LIGHT, _pieces(spool))
        text = self._manifest(parts).model_dump_json(indent=2).encode()
        yield _member(workspace_archive.MANIFEST, len(text), LIGHT, _once(text))

    async def _open(self, document_id: UUID, version: ingest.ExportedVersion) -> AsyncIterator[bytes] | None:
        """The content of a file; None when it was deleted since, which may be in the middle of a document: its line then tells of
        the versions before."""
        pieces = _even(self.storage.iterate(version.object_key, chunk_size=PIECE))
        try:
            first = await anext(pieces, b"")
        except NotFound:
            if await self._is_gone(document_id, version.version):
                return None
            raise
        return _verified(first, pieces, version)

    async def _is_gone(self, document_id: UUID, version: int) -> bool:
        question = ingest.ListVersions(workspace_id=self.request.workspace_id, document_id=document_id)
        try:
            found = await self.requests.ask("rpc.ingest.v1.version.list", question, ingest.VersionList, cause=self.cause)
        except NotFound:
            return True
        return version not in {kept.version for kept in found.items}

    def _manifest(self, parts: dict[str, RecordSpool]) -> Manifest:
        return Manifest(
            format=workspace_archive.FORMAT,
            version=workspace_archive.VERSION,
            workspace=self.workspace,
            settings=self.settings,
            counts=Counts(
                documents=self.sent.count,
                files=self.sent_files,
                sources=self.sources.count,
                sessions=self.sessions.count - self.messages,
                messages=self.messages,
            ),
            parts=[Part.model_validate({"path": p, "size": s.size, "sha256": s.sha256}) for p, s in parts.items()],
        )


async def begin_export(
    db: Database,
    storage: ObjectStorage,
    requests: RequestClient,
    cause: Cause,
    *,
    actor: Actor,
    request: ExportRequest,
    slots: asyncio.Semaphore,
) -> WorkspaceExport:
    """Sets the records aside; the export has to be streamed then, or closed. Raises `NotFound`, `RequestFailed` while a service
    does not answer, and `Conflict` for more records than an import takes."""
    async with db.read() as session:
        workspace = await repository.workspace_by_id(session, request.workspace_id)
    if workspace is None:
        raise NotFound("There is no such workspace.")
    names = ("id", "name", "description", "system_prompt", "created_at")
    about = ArchivedWorkspace.model_construct(**{name: getattr(workspace, name) for name in names})
    settings = await _settings(requests, cause, request.workspace_id)
    export = WorkspaceExport(slots, storage, requests, cause, request, about, settings)
    try:
        await _gather_records(db, export)
        if request.include_sessions:
            await _gather_sessions(export)
        _refuse_too_many(export)
        async with db.transaction(cause) as tx:
            note(
                tx.session,
                Action.EXPORTED,
                actor,
                workspace_id=request.workspace_id,
                documents=export.documents.count,
                with_files=request.include_files,
                with_sessions=request.include_sessions,
            )
    except BaseException:
        export.close()
        raise
    return export


async def _settings(requests: RequestClient, cause: Cause, workspace_id: UUID) -> workspace_archive.Settings:
    search = await requests.ask(
        "rpc.embed.v1.settings.get", embed.GetSearchSettings(workspace_id=workspace_id), embed.SearchSettings, cause=cause
    )
    answers = await requests.ask(
        "rpc.chat.v1.settings.get", chat.GetChatSettings(workspace_id=workspace_id), chat.ChatSettings, cause=cause
    )
    return workspace_archive.Settings(
        search=workspace_archive.SearchSettings(semantic_weight=None if search.is_default else search.semantic_weight),
        chat=workspace_archive.ChatSettings(**answers.model_dump(include=set(workspace_archive.ChatSettings.model_fields))),
    )


async def _gather_records(db: Database, export: WorkspaceExport) -> None:
    after: str | None = None
    behind: UUID | None = None
    while True:
        question = ingest.ExportRecords(workspace_id=export.request.workspace_id, after=after)
        page = await export.requests.ask(
            "rpc.ingest.v1.workspace.export", question, ingest.ExportedRecords, cause=export.cause, timeout=PAGE_SECONDS
        )
        for source in page.sources:
            export.sources.add(source.model_dump_json().encode())
        up_to = page.documents[-1].document_id if page.documents else behind
        if page.documents or page.next is None:
            await _gather_documents(db, export, page.documents, after=behind, up_to=up_to if page.next is not None else None)
        after, behind = page.next, up_to
        if after is None:
            return


async def _gather_documents(
    db: Database, export: WorkspaceExport, known: list[ingest.ExportedDocument], *, after: UUID | None, up_to: UUID | None
) -> None:
    """Those of a page, by id, together with what was accepted and that ingest does not know yet."""
    known = list(reversed(known))
    async with db.read() as session:
        async for uploads in unseen_versions(session, export.request.workspace_id, after=after, up_to=up_to):
            while known and known[-1].document_id < uploads[0].document_id:
                _set_aside(export, known.pop())
            its = known.pop() if known and known[-1].document_id == uploads[0].document_id else None
            _set_aside(export, _with_unseen(its, uploads))
    while known:
        _set_aside(export, known.pop())


def _with_unseen(document: ingest.ExportedDocument | None, uploads: list[Upload]) -> ingest.ExportedDocument:
    versions = document.versions if document is not None else []
    newest = versions[-1].version if versions else 0
    unseen = [
        ingest.ExportedVersion.model_validate(upload, from_attributes=True) for upload in uploads if upload.version > newest
    ]
    if document is not None:
        return document.model_copy(update={"versions": [*versions, *unseen]})
    first, last = uploads[0], uploads[-1]
    return ingest.ExportedDocument(
        document_id=first.document_id, filename=last.filename, created_at=first.created_at, versions=unseen
    )


def _set_aside(export: WorkspaceExport, document: ingest.ExportedDocument) -> None:
    export.documents.add(document.model_dump_json().encode())
    if export.request.include_files:
        export.files += len(document.versions)
        export.file_bytes += sum(version.size for version in document.versions)


async def _gather_sessions(export: WorkspaceExport) -> None:
    """Each conversation, followed by its messages."""
    after: str | None = None
    while True:
        question = chat.ExportSessions(workspace_id=export.request.workspace_id, user_id=export.request.user_id, after=after)
        page = await export.requests.ask(
            "rpc.chat.v1.session.export", question, chat.ExportedSessions, cause=export.cause, timeout=PAGE_SECONDS
        )
        messages = list(reversed(page.messages))

        def set_messages_aside(session_id: UUID | None, messages: list[chat.ExportedMessage] = messages) -> None:
            while messages and session_id in {None, messages[-1].session_id}:
                export.sessions.add(_typed("message", messages.pop()))
                export.messages += 1

        if messages and messages[-1].session_id not in {session.session_id for session in page.sessions}:
            set_messages_aside(messages[-1].session_id)  # the rest of a conversation that is on the page before
        for session in page.sessions:
            export.sessions.add(_typed("session", session))
            set_messages_aside(session.session_id)
        set_messages_aside(None)
        after = page.next
        if after is None:
            return


def _typed(kind: str, record: chat.ExportedSession | chat.ExportedMessage) -> bytes:
    return b'{"type":"' + kind.encode() + b'",' + record.model_dump_json().encode().removeprefix(b"{")


def _refuse_too_many(export: WorkspaceExport) -> None:
    count = export.documents.count + export.sources.count + export.sessions.count
    if count > workspace_archive.RECORDS_MAX:
        raise Conflict(
            f"This workspace has {count:,} documents, sources, conversations and messages. An archive can have"
            f" {workspace_archive.RECORDS_MAX:,}: delete what nobody needs, or leave out the conversations."
        )


def _document_line(document: ingest.ExportedDocument, versions: list[FileVersion]) -> DocumentLine:
    about = {name: getattr(document, name) for name in ("document_id", "filename", "created_at", "source_id", "origin")}
    return DocumentLine.model_construct(**about, versions=versions)


def _file_version(version: ingest.ExportedVersion, path: str | None) -> FileVersion:
    return FileVersion.model_construct(**version.model_dump(exclude={"object_key"}), path=path)


def _member(path: str, size: int, level: int, content: AsyncIterable[bytes]) -> AsyncMemberFile:
    return path, MADE_AT, MODE, ZIP_AUTO(size, level=level), content


async def _once(text: bytes) -> AsyncIterator[bytes]:
    yield text


async def _pieces(spool: RecordSpool) -> AsyncIterator[bytes]:
    for block in spool.blocks(PIECE):
        yield block


async def _even(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """In pieces of one size, whatever the network makes of them: how they are cut can be seen in the archive."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        while len(pending) >= PIECE:
            yield bytes(pending[:PIECE])
            del pending[:PIECE]
    if pending:
        yield bytes(pending)


async def _verified(first: bytes, rest: AsyncIterator[bytes], version: ingest.ExportedVersion) -> AsyncIterator[bytes]:
    """Raises `DependencyUnavailable` at the end of a file that is not what was uploaded."""
    digest = hashlib.sha256()
    size = 0
    piece = first
    while piece:
        size += len(piece)
        # Here, a millisecond for a piece, and in no other thread: the one that makes the archive waits for this, and when all of
        # them did so, there would be none to do it.
        digest.update(piece)
        yield piece
        piece = await anext(rest, b"")
    if size != version.size or digest.hexdigest() != version.sha256:
        raise DependencyUnavailable("storage", f"the object {version.object_key} is not what was stored")

"""An archive becomes a workspace: looked at as a whole first, then taken over step by step, and seen only when all is there.

Every step may be done again: a gateway that is killed leaves it to another one, which begins with the phase anew. Ids are those
of the archive when none of them is taken here; else all are new ones. Half of them would be no use: documents are addressed by
their workspace, and that its id is new decides as well which of two imports of one archive keeps the ids.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import Contract
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.storage import ObjectStorage
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import erasure_repository, import_repository, member_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.models import Import, Upload, Workspace
from docutalk_gateway.adapters.stored_zip import StoredZip
from docutalk_gateway.adapters.workspace_archive import (
    DocumentLine,
    FileVersion,
    MessageLine,
    SessionLine,
    WorkspaceArchive,
    is_expected,
)
from docutalk_gateway.domain import ArchiveRefused, GatewayError, ImportStatus, Role, clean_filename, key_extension
from docutalk_gateway.use_cases.check_archive import ArchiveIds, SizeLimits, check_archive, check_hash, check_sizes

IDS_AT_ONCE = 1000
# Of records in one message, which the server takes up to 2 MiB.
BATCH_BYTES = 400 << 10
BATCH_RECORDS = 200
ASK_SECONDS = 30.0
# Of 128. Before them an id has its time and enough random bits to tell it from others of the same millisecond.
NEW_BITS = 48

R = TypeVar("R", bound=BaseModel)
C = TypeVar("C", bound=Contract)


class LeaseLost(GatewayError):
    """Another gateway works on this import by now, or it is gone together with its person."""


@dataclass(frozen=True)
class NewIds:
    """What becomes of the ids of an archive. With `import_id` each is another one, always the same, that begins as the old one:
    lists are in the order of ids."""

    import_id: UUID | None

    def of(self, old: UUID) -> UUID:
        """The id of a record."""
        if self.import_id is None:
            return old
        return UUID(int=old.int >> NEW_BITS << NEW_BITS | _derived(self.import_id, old).int & ((1 << NEW_BITS) - 1))

    def of_known(self, old: UUID, known: Collection[UUID]) -> UUID:
        """The id of what may be none of the archive's: that stays as it is."""
        return self.of(old) if old in known else old


def _derived(import_id: UUID, *of: UUID | int) -> UUID:
    """A UUID that looks random, and is the same whenever this import asks."""
    return UUID(bytes=hashlib.sha256(f"{import_id} {of}".encode()).digest()[:16], version=4)


@dataclass
class Progress:
    """How much has been taken over, in documents, sources, conversations and messages."""

    done: int = 0


@dataclass(frozen=True)
class WorkspaceImport:
    """One import in the hands of this gateway, which calls itself `holder`. Raises `LeaseLost` when it is not any more."""

    db: Database
    storage: ObjectStorage
    requests: RequestClient
    cause: Cause
    row: Import
    holder: UUID
    limits: SizeLimits
    progress: Progress

    async def run(self) -> None:
        """Does what is left of it. Raises `ArchiveRefused`, `RequestFailed`, `DependencyUnavailable`."""
        began = self.row.status == ImportStatus.IMPORTING.value
        if not began:
            await self._change(status=ImportStatus.CHECKING.value)
        try:
            zipped = await StoredZip.open(self.storage, self.row.object_key, self.row.size, expects=is_expected)
        except NotFound:
            raise ArchiveRefused("The archive is not in the object store any more. Send it again.") from None
        async with contextlib.aclosing(zipped):
            check_sizes(zipped, self.row.size, self.limits)
            await self._take(await WorkspaceArchive.open(zipped), again=began)

    async def _take(self, archive: WorkspaceArchive, *, again: bool) -> None:
        ids = await check_archive(archive, self.limits, with_files=not again)
        workspace_id = self.row.workspace_id if again else await self._begin(archive, ids)
        assert workspace_id is not None
        kept = workspace_id == ids.workspace_id
        new = NewIds(None if kept else self.row.id)
        taking = _Taking(self, archive, ids, new, workspace_id, again=again)
        await taking.settings()
        await taking.sources()
        await taking.documents()
        await taking.sessions()
        await self._finish(workspace_id, archive, left_out=taking.left_out, remapped=0 if kept else _count(ids) + 1)

    async def _change(self, **values: Any) -> None:
        async with self.db.transaction(self.cause) as tx:
            if not await import_repository.change_held(tx.session, self.row.id, self.holder, **values):
                raise LeaseLost("The import is another gateway's.")

    async def _begin(self, archive: WorkspaceArchive, ids: ArchiveIds) -> UUID:
        """From here on there is a workspace, which nobody sees; its id."""
        about = archive.manifest.workspace
        # The second time: another import of the same archive was a moment ahead.
        for new in [NewIds(None)] * await self._all_free(ids) + [NewIds(self.row.id)]:
            workspace = Workspace(
                id=new.of(about.id),
                name=self.row.name or about.name,
                description=about.description,
                system_prompt=about.system_prompt,
                created_at=about.created_at,
                updated_at=datetime.now(UTC),
            )
            values = {"status": ImportStatus.IMPORTING.value, "workspace_id": workspace.id, "steps": _count(ids)}
            async with self.db.transaction(self.cause) as tx:
                if await import_repository.add_unseen_workspace(tx.session, workspace):
                    if not await import_repository.change_held(tx.session, self.row.id, self.holder, **values):
                        raise LeaseLost("The import is another gateway's.")
                    return workspace.id
        raise RequestFailed("internal", "the new id of the workspace is taken")

    async def _all_free(self, ids: ArchiveIds) -> bool:
        async with self.db.read() as session:
            if await import_repository.is_workspace_id_taken(session, ids.workspace_id):
                return False
        for some in _some([*ids.documents, *ids.sources], IDS_AT_ONCE):
            records = await self.ask("rpc.ingest.v1.record.known", ingest.KnownRecords(ids=some), ingest.RecordsKnown)
            if records.ids:
                return False
        for some in _some([*ids.sessions, *ids.messages], IDS_AT_ONCE):
            sessions = await self.ask("rpc.chat.v1.session.known", chat.KnownSessions(ids=some), chat.SessionsKnown)
            if sessions.ids:
                return False
        return True

    async def _finish(self, workspace_id: UUID, archive: WorkspaceArchive, *, left_out: str | None, remapped: int) -> None:
        """The one moment in which the workspace is there for its owner."""
        counts = archive.manifest.counts
        values = {
            "status": ImportStatus.DONE.value,
            "steps_done": counts.records,
            "remapped": remapped,
            "reason": left_out,
            "finished_at": datetime.now(UTC),
        }
        async with self.db.transaction(self.cause) as tx:
            await self.hold(tx.session, workspace_id)
            await repository.add_member(tx.session, workspace_id, self.row.user_id, Role.OWNER)
            await member_repository.set_first_default(tx.session, workspace_id, self.row.user_id)
            if not await import_repository.change_held(tx.session, self.row.id, self.holder, **values):
                raise LeaseLost("The import is another gateway's.")
            note(
                tx.session,
                Action.IMPORTED,
                Actor(ActorKind.USER, self.row.user_id),
                workspace_id=workspace_id,
                target_id=self.row.id,
                documents=counts.documents,
                ids_kept=not remapped,
            )

    async def hold(self, session: AsyncSession, workspace_id: UUID) -> None:
        """Neither the workspace nor the person goes before the transaction ends. Raises `LeaseLost` when one of them is gone."""
        if await erasure_repository.hold_workspace(session, workspace_id, self.row.user_id) is None:
            raise LeaseLost("The workspace was deleted while it was imported.")

    async def ask(self, subject: str, question: Contract, answer: type[C]) -> C:
        """Another service's answer."""
        return await self.requests.ask(subject, question, answer, cause=self.cause, timeout=ASK_SECONDS)


@dataclass
class _Taking:
    """The records of an archive on their way to the services. `again`: some may be there already."""

    run: WorkspaceImport
    archive: WorkspaceArchive
    ids: ArchiveIds
    new: NewIds
    workspace_id: UUID
    again: bool
    left_out: str | None = None
    """What could not be taken over, as a sentence."""

    async def settings(self) -> None:
        settings = self.archive.manifest.settings
        if settings.search.semantic_weight is not None:
            search = embed.ChangeSearchSettings(workspace_id=self.workspace_id, semantic_weight=settings.search.semantic_weight)
            await self.run.ask("rpc.embed.v1.settings.change", search, embed.SearchSettings)
        changes = settings.chat.model_dump(exclude_none=True)
        try:
            await self._answer_as(changes)
        except RequestFailed as error:
            if error.code != "invalid" or "model" not in changes:
                raise
            self.left_out = f"The model {changes.pop('model')} cannot answer here: the workspace has this installation's."
            await self._answer_as(changes)

    async def _answer_as(self, changes: dict[str, Any]) -> None:
        if changes:
            question = chat.ChangeChatSettings(workspace_id=self.workspace_id, changes=sorted(changes), **changes)
            await self.run.ask("rpc.chat.v1.settings.change", question, chat.ChatSettings)

    async def sources(self) -> None:
        async for batch in _batches(self.archive.sources()):
            sources = [line.model_copy(update={"source_id": self.new.of(line.source_id)}) for line in batch]
            await self._send(sources=sources)

    async def documents(self) -> None:
        async for batch in _batches(self.archive.documents()):
            documents = [await self._document(line) for line in batch]
            await self._send(documents=documents)
            await self._remember([document for document in documents if document.origin is None])

    async def _document(self, line: DocumentLine) -> ingest.ExportedDocument:
        document_id = self.new.of(line.document_id)
        return ingest.ExportedDocument(
            document_id=document_id,
            filename=clean_filename(line.filename),
            created_at=line.created_at,
            source_id=self.new.of(line.source_id) if line.source_id is not None else None,
            origin=line.origin,
            versions=[await self._copy(document_id, version) for version in line.versions],
        )

    async def _copy(self, document_id: UUID, version: FileVersion) -> ingest.ExportedVersion:
        """Puts a file where it belongs; always the same place, so that doing it again leaves nothing behind."""
        filename = clean_filename(version.filename)
        name = _derived(self.run.row.id, document_id, version.version)
        key = f"{self.workspace_id}/{document_id}/{name}{key_extension(filename)}"
        if not (self.again and await self._is_there(key, version.size)):
            await self.run.storage.upload_stream(key, self._content(version), content_type=version.content_type)
        return ingest.ExportedVersion(**version.model_dump(exclude={"path", "filename"}), filename=filename, object_key=key)

    async def _is_there(self, key: str, size: int) -> bool:
        # An object is there whole, or not at all.
        try:
            return (await self.run.storage.stat(key)).size == size
        except NotFound:
            return False

    async def _content(self, version: FileVersion) -> AsyncIterator[bytes]:
        assert version.path is not None
        digest = hashlib.sha256()
        async for piece in self.archive.zipped.read(self.archive.zipped.entries[version.path], digest):
            yield piece
        check_hash(version, digest.hexdigest())

    async def _remember(self, documents: Sequence[ingest.ExportedDocument]) -> None:
        """What people uploaded may come again, and get new versions; what sources brought they keep themselves."""
        now = datetime.now(UTC)
        async with self.run.db.transaction(self.run.cause) as tx:
            await self.run.hold(tx.session, self.workspace_id)
            await import_repository.add_imported_uploads(tx.session, [self._upload(document, now) for document in documents])

    def _upload(self, document: ingest.ExportedDocument, now: datetime) -> Upload:
        return Upload(
            document_id=document.document_id,
            workspace_id=self.workspace_id,
            uploaded_by=self.run.row.user_id,
            seen_at=now,
            **document.versions[-1].model_dump(),
        )

    async def sessions(self) -> None:
        async for batch in _batches(self.archive.sessions()):
            sessions = [self._session(line) for line in batch if isinstance(line, SessionLine)]
            messages = [self._message(line) for line in batch if isinstance(line, MessageLine)]
            question = chat.ImportSessions(
                workspace_id=self.workspace_id, user_id=self.run.row.user_id, sessions=sessions, messages=messages
            )
            await self.run.ask("rpc.chat.v1.session.import", question, chat.SessionsImported)
            self.run.progress.done += len(batch)

    def _session(self, line: SessionLine) -> chat.ExportedSession:
        return line.model_copy(update={"session_id": self.new.of(line.session_id)})

    def _message(self, line: MessageLine) -> chat.ExportedMessage:
        cited = [c.model_copy(update={"document_id": self._document_id(c.document_id)}) for c in line.citations]
        changes = {
            "session_id": self.new.of(line.session_id),
            "message_id": self.new.of(line.message_id),
            "reply_to": self.new.of(line.reply_to) if line.reply_to is not None else None,
            "citations": cited,
            "filters": self._filters(line.filters),
        }
        return line.model_copy(update=changes)

    def _document_id(self, old: UUID) -> UUID:
        return self.new.of_known(old, self.ids.documents)

    def _filters(self, filters: SearchFilters | None) -> SearchFilters | None:
        if filters is None:
            return None
        sources = [self.new.of_known(old, self.ids.sources) for old in filters.source_ids]
        documents = [self._document_id(old) for old in filters.document_ids]
        return filters.model_copy(update={"document_ids": documents, "source_ids": sources})

    async def _send(self, **records: Any) -> None:
        question = ingest.ImportRecords(workspace_id=self.workspace_id, imported_by=self.run.row.user_id, **records)
        await self.run.ask("rpc.ingest.v1.workspace.import", question, ingest.RecordsImported)
        self.run.progress.done += len(question.sources) + len(question.documents)


def _count(ids: ArchiveIds) -> int:
    return len(ids.documents) + len(ids.sources) + len(ids.sessions) + len(ids.messages)


def _some(ids: Sequence[UUID], most: int) -> Iterator[list[UUID]]:
    rest = iter(ids)
    while some := list(islice(rest, most)):
        yield some


async def _batches(lines: AsyncIterator[R]) -> AsyncIterator[list[R]]:
    """As many records as go into one message; one that is larger goes alone."""
    batch: list[R] = []
    size = 0
    async for line in lines:
        length = len(line.model_dump_json())
        if batch and (size + length > BATCH_BYTES or len(batch) == BATCH_RECORDS):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch

"""What ingest, embed and chat hold of workspaces, in memory, as far as it is exported and imported; and archives made by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

from docutalk_common.contracts import chat, embed, gateway, ingest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.streams import ServiceName
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_local.testing import TestStack
from sqlalchemy import text

T = TypeVar("T")
THEN = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
SETTINGS = chat.ChatSettings()


async def stored(storage: ObjectStorage, key: str, content: bytes) -> str:
    """Puts an object; its key."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    await storage.upload_stream(key, chunks(), content_type="application/octet-stream")
    return key


@dataclass
class Services:
    """The other services. A page of theirs has `page_size` records; `refusals` says what the next requests are answered with."""

    page_size: int = 3
    sources: dict[UUID, dict[UUID, ingest.ExportedSource]] = field(default_factory=dict)
    documents: dict[UUID, dict[UUID, ingest.ExportedDocument]] = field(default_factory=dict)
    sessions: dict[tuple[UUID, UUID], dict[UUID, chat.ExportedSession]] = field(default_factory=dict)
    messages: dict[UUID, list[chat.ExportedMessage]] = field(default_factory=dict)
    weights: dict[UUID, float] = field(default_factory=dict)
    answering: dict[UUID, chat.ChatSettings] = field(default_factory=dict)
    erased: list[UUID] = field(default_factory=list)
    refusals: dict[str, list[RequestFailed]] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    """Set by a test that lets the import of documents wait; `held` is set when one does."""
    held: asyncio.Event = field(default_factory=asyncio.Event)

    # What a test puts in --------------------------------------------------------------------------------------------

    async def put_document(
        self, storage: ObjectStorage, workspace_id: UUID, *contents: bytes, filename: str = "a.txt", **about: Any
    ) -> ingest.ExportedDocument:
        """A document whose versions are these files."""
        document_id = about.pop("document_id", None) or uuid7()
        versions = []
        for number, content in enumerate(contents, 1):
            key = await stored(storage, f"{workspace_id}/{document_id}/{uuid4()}.txt", content)
            versions.append(
                ingest.ExportedVersion(
                    version=number,
                    filename=filename,
                    content_type="text/plain",
                    size=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    object_key=key,
                    created_at=THEN,
                )
            )
        document = ingest.ExportedDocument(
            document_id=document_id, filename=filename, created_at=THEN, versions=versions, **about
        )
        self.documents.setdefault(workspace_id, {})[document_id] = document
        return document

    def put_source(self, workspace_id: UUID, name: str = "News", **about: Any) -> ingest.ExportedSource:
        """A feed."""
        given = {"kind": ingest.SourceKind.FEED, "config": {"url": "https://example.com/feed", "max_items": 20}}
        source = ingest.ExportedSource(source_id=uuid7(), name=name, created_at=THEN, **{**given, **about})
        self.sources.setdefault(workspace_id, {})[source.source_id] = source
        return source

    def put_session(
        self, workspace_id: UUID, user_id: UUID, cited: Sequence[UUID] = (), *, turns: int = 1, text: str = "It is so [1]."
    ) -> chat.ExportedSession:
        """A conversation of so many questions, each with an answer that cites the documents."""
        session = chat.ExportedSession(session_id=uuid7(), title="Is it so?", created_at=THEN, updated_at=THEN)
        self.sessions.setdefault((workspace_id, user_id), {})[session.session_id] = session
        filters = embed.SearchFilters(document_ids=list(cited), languages=["en"])
        citations = [
            chat.Citation(marker=n, document_id=one, filename="a.txt", page=1, start=0, end=5, quote="It is", version=1)
            for n, one in enumerate(cited, 1)
        ]
        said = self.messages.setdefault(session.session_id, [])
        for _ in range(turns):
            about: dict[str, Any] = {"session_id": session.session_id, "created_at": THEN}
            question = chat.ExportedMessage(message_id=uuid7(), role="user", text="Is it so?", filters=filters, **about)
            usage = chat.Usage(input_tokens=7, output_tokens=3, cost_usd=0.25)
            answer = chat.ExportedMessage(
                message_id=uuid7(),
                role="assistant",
                text=text,
                reply_to=question.message_id,
                citations=citations,
                supported=True,
                usage=usage,
                rating=1,
                **about,
            )
            said += [question, answer]
        return session

    def forget(self, workspace_id: UUID) -> None:
        """As if there had never been anything of it."""
        for key in [key for key in self.sessions if key[0] == workspace_id]:
            for session_id in self.sessions.pop(key):
                self.messages.pop(session_id, None)
        for held in (self.sources, self.documents, self.weights, self.answering):
            held.pop(workspace_id, None)  # type: ignore[attr-defined]

    # What the gateway asks ------------------------------------------------------------------------------------------

    def _refuse(self, subject: str) -> None:
        if self.refusals.get(subject):
            raise self.refusals[subject].pop(0)

    def _page(self, items: Sequence[T], after: str | None) -> tuple[Sequence[T], str | None]:
        start = int(after or 0)
        end = start + self.page_size
        return items[start:end], str(end) if end < len(items) else None

    async def export_records(self, request: ingest.ExportRecords, _cause: Cause) -> ingest.ExportedRecords:
        self._refuse("export")
        sources = self.sources.get(request.workspace_id, {})
        documents = self.documents.get(request.workspace_id, {})
        records = [*(sources[key] for key in sorted(sources)), *(documents[key] for key in sorted(documents))]
        page, following = self._page(records, request.after)
        return ingest.ExportedRecords(
            sources=[one for one in page if isinstance(one, ingest.ExportedSource)],
            documents=[one for one in page if isinstance(one, ingest.ExportedDocument)],
            next=following,
        )

    async def list_versions(self, request: ingest.ListVersions, _cause: Cause) -> ingest.VersionList:
        document = self.documents.get(request.workspace_id, {}).get(request.document_id)
        if document is None:
            raise NotFound("There is no such document.")
        items = [ingest.DocumentVersion(**v.model_dump(), created_by=UUID(int=1)) for v in reversed(document.versions)]
        return ingest.VersionList(items=items)

    async def import_records(self, request: ingest.ImportRecords, _cause: Cause) -> ingest.RecordsImported:
        if request.documents and self.hold is not None:
            self.held.set()
            await self.hold.wait()
        self._refuse("import")
        mine = self.documents.setdefault(request.workspace_id, {})
        for workspace_id, documents in self.documents.items():
            if workspace_id != request.workspace_id and any(one.document_id in documents for one in request.documents):
                raise RequestFailed("conflict", "an id is another workspace's")
        for document in request.documents:
            assert all(v.object_key.startswith(f"{request.workspace_id}/{document.document_id}/") for v in document.versions)
            mine.setdefault(document.document_id, document)
        for source in request.sources:
            self.sources.setdefault(request.workspace_id, {}).setdefault(source.source_id, source)
        return ingest.RecordsImported(sources=len(request.sources), documents=len(request.documents))

    async def known_records(self, request: ingest.KnownRecords, _cause: Cause) -> ingest.RecordsKnown:
        assert len(request.ids) <= 1000
        known = {key for held in (*self.documents.values(), *self.sources.values()) for key in held}  # type: ignore[attr-defined]
        return ingest.RecordsKnown(ids=[one for one in request.ids if one in known])

    async def export_sessions(self, request: chat.ExportSessions, _cause: Cause) -> chat.ExportedSessions:
        self._refuse("export sessions")
        records: list[chat.ExportedSession | chat.ExportedMessage] = []
        sessions = self.sessions.get((request.workspace_id, request.user_id), {})
        for session_id in sorted(sessions):
            records += [sessions[session_id], *self.messages[session_id]]
        page, following = self._page(records, request.after)
        return chat.ExportedSessions(
            sessions=[one for one in page if isinstance(one, chat.ExportedSession)],
            messages=[one for one in page if isinstance(one, chat.ExportedMessage)],
            next=following,
        )

    async def import_sessions(self, request: chat.ImportSessions, _cause: Cause) -> chat.SessionsImported:
        self._refuse("import sessions")
        mine = self.sessions.setdefault((request.workspace_id, request.user_id), {})
        for session in request.sessions:
            mine.setdefault(session.session_id, session)
            self.messages.setdefault(session.session_id, [])
        for message in request.messages:
            said = self.messages[message.session_id]
            if message.message_id not in {one.message_id for one in said}:
                assert message.reply_to is None or message.reply_to in {one.message_id for one in said}
                said.append(message)
        return chat.SessionsImported(sessions=len(request.sessions), messages=len(request.messages))

    async def known_sessions(self, request: chat.KnownSessions, _cause: Cause) -> chat.SessionsKnown:
        assert len(request.ids) <= 1000
        known = set(self.messages) | {one.message_id for said in self.messages.values() for one in said}
        return chat.SessionsKnown(ids=[one for one in request.ids if one in known])

    async def search_settings(self, request: embed.GetSearchSettings, _cause: Cause) -> embed.SearchSettings:
        weight = self.weights.get(request.workspace_id)
        return embed.SearchSettings(semantic_weight=0.7 if weight is None else weight, is_default=weight is None)

    async def change_search(self, request: embed.ChangeSearchSettings, cause: Cause) -> embed.SearchSettings:
        assert request.semantic_weight is not None
        self.weights[request.workspace_id] = request.semantic_weight
        return await self.search_settings(embed.GetSearchSettings(workspace_id=request.workspace_id), cause)

    async def chat_settings(self, request: chat.GetChatSettings, _cause: Cause) -> chat.ChatSettings:
        return self.answering.get(request.workspace_id, SETTINGS)

    async def change_chat(self, request: chat.ChangeChatSettings, _cause: Cause) -> chat.ChatSettings:
        if request.model == "elsewhere":
            raise RequestFailed("invalid", "There is no model elsewhere here.")
        changes = {name: getattr(request, name) for name in request.changes}
        self.answering[request.workspace_id] = self.answering.get(request.workspace_id, SETTINGS).model_copy(update=changes)
        return self.answering[request.workspace_id]

    async def erase(self, deleted: gateway.WorkspaceDeleted, _delivery: Delivery) -> None:
        self.erased.append(deleted.workspace_id)
        self.forget(deleted.workspace_id)

    @contextlib.asynccontextmanager
    async def serving(self, stack: TestStack) -> AsyncIterator[None]:
        """Answers until the block ends."""
        brokers = {name: _broker(stack, name) for name in ("ingest", "embed", "chat")}
        for subject, handler in self._handlers().items():
            brokers[subject.split(".")[1]].answer(subject, handler)
        brokers["ingest"].consume("ingest-workspace-deleted", self.erase)
        async with contextlib.AsyncExitStack() as running:
            for broker in brokers.values():
                await broker.start()
                running.push_async_callback(broker.stop, grace=20)
            yield

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "rpc.ingest.v1.workspace.export": self.export_records,
            "rpc.ingest.v1.workspace.import": self.import_records,
            "rpc.ingest.v1.record.known": self.known_records,
            "rpc.ingest.v1.version.list": self.list_versions,
            "rpc.embed.v1.settings.get": self.search_settings,
            "rpc.embed.v1.settings.change": self.change_search,
            "rpc.chat.v1.settings.get": self.chat_settings,
            "rpc.chat.v1.settings.change": self.change_chat,
            "rpc.chat.v1.session.export": self.export_sessions,
            "rpc.chat.v1.session.import": self.import_sessions,
            "rpc.chat.v1.session.known": self.known_sessions,
        }


def _broker(stack: TestStack, service: ServiceName) -> MessageBroker:
    settings = ServiceSettings.from_environment(stack.service_environment(service))
    return MessageBroker(settings, service=service, db=None)


# A gateway of its own -----------------------------------------------------------------------------------------------


# Workspaces ------------------------------------------------------------------------------------------------------


async def planted(gateway: Any, person: Any, services: Services) -> list[UUID]:
    """A workspace with some of everything; its documents."""
    source = services.put_source(person.workspace)
    put = services.put_document
    documents = [
        await put(gateway.storage, person.workspace, b"one", b"one again", filename="first.txt"),
        await put(gateway.storage, person.workspace, b"two", source_id=source.source_id, origin="https://example.com/2"),
        await put(gateway.storage, person.workspace, b"x" * 3000, filename="third.txt"),
    ]
    ids = [document.document_id for document in documents]
    services.put_session(person.workspace, person.id, [ids[0], uuid7()], turns=3)
    services.put_session(person.workspace, person.id)
    services.weights[person.workspace] = 0.25
    services.answering[person.workspace] = chat.ChatSettings(model="tiny", temperature=0.5, passages=5)
    changes = {"name": "Werkstatt", "description": "Text", "system_prompt": "Be brief."}
    (await person.http.patch(f"/api/v1/workspaces/{person.workspace}", json=changes)).raise_for_status()
    return ids


async def forget(gateway: Any, services: Services, workspace_id: UUID) -> None:
    """As in another installation: there has never been such a workspace."""
    services.forget(workspace_id)
    await gateway.storage.delete(await gateway.storage.keys(f"{workspace_id}/"))
    async with gateway.db.transaction(Cause.new()) as tx:
        for table, column in (("uploads", "workspace_id"), ("members", "workspace_id"), ("workspaces", "id")):
            await tx.session.execute(text(f"DELETE FROM gateway.{table} WHERE {column} = :id"), {"id": workspace_id})


async def archive_of(person: Any, **wanted: Any) -> bytes:
    """The export of the person's workspace."""
    answer = await person.http.get(f"/api/v1/workspaces/{person.workspace}/export", params=wanted)
    assert answer.status_code == 200, answer.text
    return answer.content  # type: ignore[no-any-return]


# Archives --------------------------------------------------------------------------------------------------------


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files of an archive, in its order."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {info.filename: opened.read(info) for info in opened.infolist()}


def packed(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these files, by another program than the gateway."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return target.getvalue()


def sealed(files: dict[str, bytes], **manifest: Any) -> dict[str, bytes]:
    """The same files with a manifest that is right about its parts, and says `manifest` besides."""
    said = json.loads(files["manifest.json"])
    for part in said["parts"]:
        content = files[part["path"]]
        part.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    return {**files, "manifest.json": json.dumps({**said, **manifest}).encode()}


def lines(files: dict[str, bytes], path: str) -> list[dict[str, Any]]:
    """The records of a part."""
    return [json.loads(line) for line in files[path].splitlines()]


def jsonl(records: Sequence[Any]) -> bytes:
    """As it stands in a part."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def anonymous(files: dict[str, bytes]) -> dict[str, Any]:
    """What is in an archive, with each id replaced by the number of the one that it is, as ids come up: the same for two archives
    that differ in their ids only."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"<{numbers.setdefault(found[0], len(numbers))}>"

    names = [name for name in files if not name.endswith((".jsonl", ".json"))]
    records = {name: _UUID.sub(number, files[name].decode()) for name in files if name.endswith(".jsonl")}
    manifest = json.loads(files["manifest.json"])
    for part in manifest["parts"]:
        part.pop("sha256")
    return {
        **records,
        **{_UUID.sub(number, name): files[name] for name in names},
        "manifest": _UUID.sub(number, json.dumps(manifest)),
    }

"""The gateway on the real servers, people who use it, and small stand-ins for the services behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.contracts.chat import Frame, FrameKind
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.contracts.ingest import DocumentStatus
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.streams import TOKENS, ServiceName
from docutalk_common.process import wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_gateway.adapters.audit_log import Actor
from docutalk_gateway.adapters.tokens import AccessTokens
from docutalk_gateway.app import serve
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.keep_signing_keys import load_signing_keys
from docutalk_gateway.use_cases.limit_requests import WINDOW_SECONDS
from docutalk_gateway.use_cases.register_user import add_account
from docutalk_gateway.use_cases.sign_in import start_sign_in
from docutalk_local.testing import TestStack
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

ADMIN = ("admin@docutalk.local", "correct horse battery staple")
PASSWORD = "a long enough password"
_QUICK_HASH = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)]).hash(PASSWORD)


def environment_of(stack: TestStack, service: ServiceName) -> dict[str, Any]:
    """The settings' fields of a service."""
    return {name.removeprefix("DOCUTALK_").lower(): value for name, value in stack.service_environment(service).items()}


@pytest.fixture(scope="session")
def settings_for(stack: TestStack) -> Callable[..., GatewaySettings]:
    """Settings of a gateway on the test servers, with changes."""

    def make(**changes: Any) -> GatewaySettings:
        given: dict[str, Any] = {
            "port": 0,
            "jwt_secret": "test " * 8,
            "admin_email": ADMIN[0],
            "admin_password": ADMIN[1],
            "open_registration": True,
            "max_upload_bytes": 8 << 20,
        }
        return GatewaySettings(**{**environment_of(stack, "gateway"), **given, **changes})

    return make


@dataclass
class Person:
    """Somebody signed in, with a client whose paths begin at the API's root."""

    http: httpx.AsyncClient
    id: UUID
    email: str
    workspace: UUID
    refresh_token: str

    @property
    def documents(self) -> str:
        """The path of this person's documents."""
        return f"/api/v1/workspaces/{self.workspace}/documents"

    async def upload(self, *files: tuple[str, bytes], headers: dict[str, str] | None = None) -> httpx.Response:
        """Uploads files in one request."""
        parts = [("file", (name, data, "application/octet-stream")) for name, data in files]
        return await self.http.post(self.documents, files=parts, headers=headers)


@dataclass
class RunningGateway:
    """A gateway over HTTP, and its database to look into."""

    url: str
    settings: GatewaySettings
    db: Database
    storage: ObjectStorage
    clients: contextlib.AsyncExitStack

    async def client(self) -> httpx.AsyncClient:
        """A client of its own, closed with the gateway."""
        # Nothing here speaks TLS, and loading the certificates takes longer than most tests.
        return await self.clients.enter_async_context(httpx.AsyncClient(base_url=self.url, timeout=30, verify=False))

    async def sign_in(self, email: str, password: str = PASSWORD) -> Person:
        """Signs in."""
        http = await self.client()
        tokens = (await http.post("/api/v1/auth/login", json={"email": email, "password": password})).raise_for_status().json()
        http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        me = (await http.get("/api/v1/users/me")).raise_for_status().json()
        return Person(http, UUID(me["id"]), email, UUID(me["default_workspace_id"]), tokens["refresh_token"])

    async def person(self) -> Person:
        """Somebody new who has signed in, with an empty workspace: stored as the routes do it, but with a hash that takes
        no time. Real ones are made to take long."""
        email, http = f"{uuid4().hex}@example.com", await self.client()
        actor = Actor(address="127.0.0.1", user_agent=http.headers["User-Agent"])
        tokens = AccessTokens(seconds=self.settings.access_token_seconds)
        await load_signing_keys(self.db, tokens, self.settings.jwt_secret.get_secret_value())
        lifetime = timedelta(days=self.settings.refresh_token_days)
        async with self.db.transaction(Cause.new()) as tx:
            user = await add_account(
                tx.session, actor, email=email, password_hash=_QUICK_HASH, display_name=None, email_vouched=False
            )
            pair = await start_sign_in(tx.session, tokens, actor, user_id=user.id, method="password", lifetime=lifetime)
            person = (user.id, email, user.default_workspace_id)
        http.headers["Authorization"] = f"Bearer {pair.access_token}"
        assert person[2] is not None
        return Person(http, *person, pair.refresh_token)

    async def registered(self) -> Person:
        """The same by the routes."""
        body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        answer = await (await self.client()).post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        return await self.sign_in(body["email"])


@contextlib.asynccontextmanager
async def run_gateway(settings: GatewaySettings) -> AsyncIterator[RunningGateway]:
    """Starts a gateway in this process."""
    db = Database(settings.postgres_dsn.get_secret_value(), schema="gateway", pool_size=4)
    storage = ObjectStorage(settings, threads=4)
    try:
        async with contextlib.AsyncExitStack() as clients, serve(settings) as port:
            async with contextlib.AsyncExitStack() as closing:
                yield RunningGateway(f"http://127.0.0.1:{port}", settings, db, storage, closing)
            await clients.aclose()
    finally:
        await db.close()
        storage.close()


@pytest.fixture(scope="module")
async def gateway(settings_for: Callable[..., GatewaySettings]) -> AsyncIterator[RunningGateway]:
    """One gateway for all tests of a module. Not longer: it would take the messages of tests that run a consumer of their own."""
    async with run_gateway(settings_for()) as running:
        yield running


@pytest.fixture
async def without_administrators(gateway: RunningGateway) -> AsyncIterator[None]:
    """Nobody rules the installation, for the time of a test; who does in the end does not stay."""

    async def set_administrators(condition: str) -> None:
        async with gateway.db.transaction(Cause.new()) as tx:
            await tx.session.execute(text(f"UPDATE users SET is_admin = {condition}"))

    await set_administrators("false")
    yield
    await set_administrators(f"email = '{gateway.settings.admin_email}'")


@pytest.fixture(scope="session")
def gateway_with(settings_for: Callable[..., GatewaySettings]) -> Callable[..., Any]:
    """A gateway with other settings: `async with gateway_with(open_registration=False) as other`."""
    return lambda **changes: run_gateway(settings_for(**changes))


@pytest.fixture(scope="module")
async def account(gateway: RunningGateway) -> Person:
    """Somebody for all tests of a module: to hash and check a password takes half a second of a core, as it should."""
    return await gateway.person()


@pytest.fixture
async def person(gateway: RunningGateway, account: Person) -> Person:
    """The module's account in a new, empty workspace."""
    http = await gateway.client()
    http.headers["Authorization"] = account.http.headers["Authorization"]
    made = await http.post("/api/v1/workspaces", json={"name": "New"})
    assert made.status_code == 201, made.text
    return replace(account, http=http, workspace=UUID(made.json()["id"]))


@pytest.fixture
async def no_turn_of_a_window() -> None:
    """Failed attempts are counted in quarters of an hour, other things in hours: none ends within the next half minute."""
    await _start_of(900, 30)


async def _start_of(window: float, needed: float) -> None:
    async def enough() -> bool:
        return window - time.time() % window > needed

    await wait_until(enough, seconds=needed + 10, what="a window that lasts long enough")


async def somebody_waits_for(session: AsyncSession, db: Database) -> None:
    """Returns when a transaction waits for the session's."""
    blocking = {"pid": await session.scalar(text("SELECT pg_backend_pid()"))}
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")

    async def waits() -> bool:
        async with db.read() as other:
            return bool(await other.scalar(waiting, blocking))

    await wait_until(waits, seconds=20, what="a transaction waits for this one")


async def start_of_a_minute(needed: float) -> None:
    """Requests are counted in minutes: waits for the next one where this one ends within so many seconds."""
    await _start_of(WINDOW_SECONDS, needed)


@pytest.fixture
async def no_turn_of_the_day() -> None:
    """Questions are counted by the day: none ends within the next half minute."""
    await _start_of(86_400, 30)


# Stand-ins -------------------------------------------------------------------------------------------------------


@dataclass
class Ingest:
    """Knows the documents that a test puts in."""

    documents: dict[UUID, ingest.Document] = field(default_factory=dict)
    pages: dict[tuple[UUID, int], str] = field(default_factory=dict)
    deleted: set[UUID] = field(default_factory=set)
    versions: dict[UUID, list[ingest.DocumentVersion]] = field(default_factory=dict)
    progress: ingest.WorkspaceProgress = field(default_factory=ingest.WorkspaceProgress)
    usage: ingest.WorkspaceUsage = field(default_factory=ingest.WorkspaceUsage)
    progress_asked: int = 0
    known_keys: set[str] = field(default_factory=set)
    sources: dict[UUID, ingest.Source] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    """Requests that change something, as they came."""

    def put(self, workspace_id: UUID, document_id: UUID, **fields: Any) -> ingest.Document:
        """Registers a document."""
        now = datetime.now(UTC)
        given: dict[str, Any] = {
            "filename": "a.txt",
            "content_type": "text/plain",
            "size": 1,
            "sha256": "0" * 64,
            "object_key": "k",
            "status": DocumentStatus.READY,
            "created_at": now,
            "updated_at": now,
        }
        document = ingest.Document(document_id=document_id, workspace_id=workspace_id, **{**given, **fields})
        self.documents[document_id] = document
        return document

    def _find(self, workspace_id: UUID, document_id: UUID) -> ingest.Document:
        document = self.documents.get(document_id)
        if document is None or document.workspace_id != workspace_id:
            raise NotFound("there is no such document")
        return document

    async def get(self, request: ingest.GetDocument, _cause: Cause) -> ingest.Document:
        return self._find(request.workspace_id, request.document_id)

    async def delete(self, request: ingest.DeleteDocument, _cause: Cause) -> ingest.DocumentRemoved:
        self._find(request.workspace_id, request.document_id)
        del self.documents[request.document_id]
        self.deleted.add(request.document_id)
        return ingest.DocumentRemoved(document_id=request.document_id)

    async def list(self, request: ingest.ListDocuments, _cause: Cause) -> ingest.DocumentList:
        mine = [
            document
            for document in self.documents.values()
            if document.workspace_id == request.workspace_id
            and request.status in {None, document.status}
            and (request.q or "").casefold() in document.filename.casefold()
            and request.content_type in {None, document.content_type}
            and request.source_id in {None, document.source_id}
        ]
        mine.sort(key=lambda document: document.document_id, reverse=True)
        start = (request.page - 1) * request.per_page
        known = [i for i in request.pending_ids if i in self.documents or i in self.deleted]
        return ingest.DocumentList(items=mine[start : start + request.per_page], total=len(mine), known_ids=known)

    async def retry(self, request: ingest.RetryDocument, _cause: Cause) -> ingest.Document:
        self.asked.append(request)
        document = self._find(request.workspace_id, request.document_id)
        if document.status not in {DocumentStatus.FAILED, DocumentStatus.CANCELLED}:
            raise RequestFailed("conflict", f"{document.filename} is {document.status.value}: there is nothing to retry.")
        return self._change(document, status=DocumentStatus.QUEUED, attempt=document.attempt + 1, reason=None, code=None)

    async def cancel(self, request: ingest.CancelDocument, _cause: Cause) -> ingest.Document:
        document = self._find(request.workspace_id, request.document_id)
        if document.status in {DocumentStatus.READY, DocumentStatus.FAILED, DocumentStatus.CANCELLED}:
            raise RequestFailed("conflict", f"{document.filename} is {document.status.value}: there is nothing to stop.")
        return self._change(document, status=DocumentStatus.CANCELLED)

    async def rename(self, request: ingest.RenameDocument, _cause: Cause) -> ingest.Document:
        return self._change(self._find(request.workspace_id, request.document_id), filename=request.filename)

    async def change(self, request: ingest.ChangeDocuments, cause: Cause) -> ingest.DocumentsChanged:
        self.asked.append(request)
        about = {"workspace_id": request.workspace_id}
        done, refused = [], []
        for document_id in request.document_ids or list(self.documents):
            try:
                match request.action:
                    case ingest.BulkAction.DELETE:
                        await self.delete(
                            ingest.DeleteDocument(**about, document_id=document_id, deleted_by=request.changed_by), cause
                        )
                    case ingest.BulkAction.CANCEL:
                        await self.cancel(
                            ingest.CancelDocument(**about, document_id=document_id, cancelled_by=request.changed_by), cause
                        )
                    case ingest.BulkAction.RETRY:
                        await self.retry(
                            ingest.RetryDocument(**about, document_id=document_id, retried_by=request.changed_by), cause
                        )
                done.append(document_id)
            except RequestFailed as error:
                refused.append(ingest.DocumentRefused(document_id=document_id, code=error.code, reason=str(error)))
        return ingest.DocumentsChanged(document_ids=done, refused=refused, remaining=3)

    def _change(self, document: ingest.Document, **fields: Any) -> ingest.Document:
        self.documents[document.document_id] = document.model_copy(update=fields)
        return self.documents[document.document_id]

    async def list_versions(self, request: ingest.ListVersions, _cause: Cause) -> ingest.VersionList:
        document = self._find(request.workspace_id, request.document_id)
        return ingest.VersionList(items=self.versions.get(request.document_id, []), served_version=document.served_version)

    async def get_progress(self, _request: ingest.GetProgress, _cause: Cause) -> ingest.WorkspaceProgress:
        self.progress_asked += 1
        return self.progress

    async def get_usage(self, _request: ingest.GetUsage, _cause: Cause) -> ingest.WorkspaceUsage:
        return self.usage

    async def know_objects(self, request: ingest.KnownObjects, _cause: Cause) -> ingest.ObjectsKnown:
        self.asked.append(request)
        return ingest.ObjectsKnown(keys=[key for key in request.keys if key in self.known_keys])

    def _source(self, workspace_id: UUID, source_id: UUID) -> ingest.Source:
        source = self.sources.get(source_id)
        if source is None or source.workspace_id != workspace_id:
            raise NotFound("There is no such source.")
        return source

    async def create_source(self, request: ingest.CreateSource, _cause: Cause) -> ingest.Source:
        self.asked.append(request)
        if request.kind is ingest.SourceKind.FEED and "url" not in request.config:
            raise RequestFailed("invalid", "A feed needs its url.")
        now = datetime.now(UTC)
        source = ingest.Source(**request.model_dump(), created_at=now, updated_at=now, last_run=self._run(request.source_id))
        self.sources[source.source_id] = source
        return source

    async def list_sources(self, request: ingest.ListSources, _cause: Cause) -> ingest.SourceList:
        mine = [source for source in self.sources.values() if source.workspace_id == request.workspace_id]
        return ingest.SourceList(items=mine, total=len(mine))

    async def get_source(self, request: ingest.GetSource, _cause: Cause) -> ingest.Source:
        return self._source(request.workspace_id, request.source_id)

    async def change_source(self, request: ingest.ChangeSource, _cause: Cause) -> ingest.Source:
        source = self._source(request.workspace_id, request.source_id)
        changes = {name: getattr(request, name) for name in request.fields}
        self.sources[source.source_id] = source.model_copy(update=changes)
        return self.sources[source.source_id]

    async def delete_source(self, request: ingest.DeleteSource, _cause: Cause) -> ingest.SourceRemoved:
        self.asked.append(request)
        del self.sources[self._source(request.workspace_id, request.source_id).source_id]
        return ingest.SourceRemoved(source_id=request.source_id)

    async def run_source(self, request: ingest.RunSource, _cause: Cause) -> ingest.SourceRun:
        if self._source(request.workspace_id, request.source_id).paused:
            raise RequestFailed("conflict", "A run of this source is going on.")
        return self._run(request.source_id)

    async def list_runs(self, request: ingest.ListRuns, _cause: Cause) -> ingest.RunList:
        return ingest.RunList(items=[self._run(self._source(request.workspace_id, request.source_id).source_id)], total=1)

    def _run(self, source_id: UUID) -> ingest.SourceRun:
        now = datetime.now(UTC)
        status = ingest.RunStatus.QUEUED
        return ingest.SourceRun(run_id=uuid7(), source_id=source_id, trigger="manual", status=status, queued_at=now)

    async def get_pages(self, request: ingest.GetPages, _cause: Cause) -> ingest.Pages:
        found = []
        for ref in request.pages:
            text = self.pages.get((ref.document_id, ref.number))
            document = self.documents.get(ref.document_id)
            if text is not None and document is not None and document.workspace_id == request.workspace_id:
                piece = text[ref.start : ref.end]
                found.append(
                    ingest.Page(
                        document_id=ref.document_id,
                        version=ref.version or document.served_version or 1,
                        number=ref.number,
                        label=str(ref.number),
                        text=piece,
                        start=ref.start,
                    )
                )
        return ingest.Pages(pages=found)


@dataclass
class Embed:
    """Answers with what a test puts in, and keeps the questions."""

    passages: list[embed.Passage] = field(default_factory=list)
    places: list[embed.PlaceNamed] = field(default_factory=list)
    similar: dict[UUID, list[embed.SimilarDocument]] = field(default_factory=dict)
    weight: float | None = None
    models: list[embed.EmbeddingModel] = field(default_factory=list)
    changes: list[embed.ModelChange] = field(default_factory=list)
    next: str | None = None
    model: str = "minilm"
    error: tuple[str, str] | None = None
    """What the next question is refused with."""
    asked: list[Any] = field(default_factory=list)

    def _note(self, request: Any) -> None:
        self.asked.append(request)
        if self.error is not None:
            code, reason = self.error
            self.error = None
            raise RequestFailed(code, reason)

    async def search(self, request: embed.SearchPassages, _cause: Cause) -> embed.PassagesFound:
        self._note(request)
        return embed.PassagesFound(passages=self.passages[: request.limit], took_ms=1.0, model=self.model, next=self.next)

    async def compare(self, request: embed.ComparePassages, _cause: Cause) -> embed.Comparison:
        self._note(request)
        queries = [
            embed.ComparedQuery(query=query, before=self.passages, after=[], overlap=0.5, before_ms=1.0, after_ms=2.0)
            for query in request.queries
        ]
        return embed.Comparison(from_model="minilm", to_model="better", coverage=0.75, queries=queries)

    async def find_similar(self, request: embed.FindSimilar, _cause: Cause) -> embed.SimilarDocuments:
        self._note(request)
        if request.document_id not in self.similar:
            raise NotFound("This document has no passages yet.")
        return embed.SimilarDocuments(items=self.similar[request.document_id][: request.limit], took_ms=1.0)

    async def list_places(self, request: embed.ListPlaces, _cause: Cause) -> embed.Places:
        self._note(request)
        return embed.Places(items=self.places[request.offset : request.offset + request.limit], total=len(self.places))

    async def embed_texts(self, request: embed.EmbedTexts, _cause: Cause) -> embed.Embeddings:
        self._note(request)
        if "unspeakable" in request.texts:
            raise RequestFailed("unavailable", "The model is being loaded.")
        return embed.Embeddings(model=self.model, vectors=[[0.5, float(len(text))] for text in request.texts])

    async def get_settings(self, request: embed.GetSearchSettings, _cause: Cause) -> embed.SearchSettings:
        self._note(request)
        return embed.SearchSettings(semantic_weight=0.7 if self.weight is None else self.weight, is_default=self.weight is None)

    async def change_settings(self, request: embed.ChangeSearchSettings, cause: Cause) -> embed.SearchSettings:
        self.weight = request.semantic_weight
        return await self.get_settings(embed.GetSearchSettings(workspace_id=request.workspace_id), cause)

    async def list_models(self, request: embed.ListModels, _cause: Cause) -> embed.Models:
        offer = embed.ModelOffer(
            name="better", provider=embed.ModelProvider.OPENAI, dimension=8, max_tokens=512, is_ready=False, reason="No endpoint."
        )
        return embed.Models(items=self.models, offers=[offer])

    async def register_model(self, request: embed.RegisterModel, _cause: Cause) -> embed.EmbeddingModel:
        self._note(request)
        given = request.model_dump(exclude_none=True)
        known: dict[str, Any] = {"provider": "openai", "provider_model": request.name, "dimension": 8}
        self.models.append(embed.EmbeddingModel.model_validate({**known, **given, "created_at": datetime.now(UTC)}))
        return self.models[-1]

    async def remove_model(self, request: embed.RemoveModel, _cause: Cause) -> embed.ModelRemoved:
        self._note(request)
        if request.name not in [model.name for model in self.models]:
            raise NotFound(f"There is no model {request.name}.")
        self.models = [model for model in self.models if model.name != request.name]
        return embed.ModelRemoved(name=request.name)

    async def start_change(self, request: embed.StartChange, _cause: Cause) -> embed.ModelChange:
        self._note(request)
        change = embed.ModelChange(
            change_id=uuid7(),
            from_model="minilm",
            to_model=request.to_model,
            state=embed.ChangeState.RUNNING,
            passages_done=1,
            passages_total=4,
            started_by=request.started_by,
            started_at=datetime.now(UTC),
        )
        self.changes.insert(0, change)
        return change

    async def list_changes(self, request: embed.ListChanges, _cause: Cause) -> embed.ModelChanges:
        return embed.ModelChanges(items=self.changes)

    async def step_change(self, request: embed.StepChange, _cause: Cause) -> embed.ModelChange:
        self._note(request)
        if request.step is not embed.ChangeStep.PAUSE:
            raise RequestFailed("conflict", "3 passages have no vector of better yet.")
        return self.changes[0].model_copy(update={"state": embed.ChangeState.PAUSED})


@dataclass
class Chat:
    """Answers messages by a script: the words of a test, or an error."""

    broker: MessageBroker | None = None
    words: list[str] = field(default_factory=lambda: ["It ", "is ", "so ", "[1]."])
    error: tuple[str, str] | None = None
    silent: bool = False
    truncated: bool = False
    hold: asyncio.Event | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)
    posted: list[MessagePosted] = field(default_factory=list)
    answers: dict[UUID, chat.AnswerState] = field(default_factory=dict)
    stopped: list[UUID] = field(default_factory=list)
    ratings: dict[UUID, chat.AnswerRated] = field(default_factory=dict)
    settings: dict[UUID, chat.ChatSettings] = field(default_factory=dict)
    titles: dict[UUID, str] = field(default_factory=dict)
    searched: list[str | None] = field(default_factory=list)
    transient: list[UUID] = field(default_factory=list)

    async def open(self, request: chat.OpenSession, _cause: Cause) -> chat.SessionOpened:
        if request.session_id is None:
            session_id = uuid7()
            self.sessions[session_id] = (request.workspace_id, request.user_id)
            if request.transient:
                self.transient.append(session_id)
            return chat.SessionOpened(session_id=session_id)
        if self.sessions.get(request.session_id) != (request.workspace_id, request.user_id):
            raise NotFound("There is no such session.")
        return chat.SessionOpened(session_id=request.session_id)

    async def get_answer(self, request: chat.GetAnswer, _cause: Cause) -> chat.AnswerState:
        if request.answer_id not in self.answers:
            raise NotFound("there is no such answer")
        return self.answers[request.answer_id]

    def _mine(self, workspace_id: UUID, user_id: UUID, session_id: UUID) -> None:
        if self.sessions.get(session_id) != (workspace_id, user_id):
            raise NotFound("There is no such session.")

    async def list_sessions(self, request: chat.ListSessions, _cause: Cause) -> chat.SessionList:
        self.searched.append(request.q)
        mine = [key for key, value in self.sessions.items() if value == (request.workspace_id, request.user_id)]
        items = [self._session(key) for key in mine]
        return chat.SessionList(items=items, total=len(items))

    def _session(self, session_id: UUID) -> chat.Session:
        now = datetime.now(UTC)
        title = self.titles.get(session_id, "A question")
        return chat.Session(session_id=session_id, title=title, created_at=now, updated_at=now)

    async def get_session(self, request: chat.GetSession, _cause: Cause) -> chat.Session:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        return self._session(request.session_id)

    async def rename_session(self, request: chat.RenameSession, _cause: Cause) -> chat.Session:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        self.titles[request.session_id] = request.title
        return self._session(request.session_id)

    async def get_question(self, request: chat.GetQuestion, _cause: Cause) -> chat.Question:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        for posted in self.posted:
            if request.message_id in {posted.message_id, posted.answer_id}:
                return chat.Question(
                    message_id=posted.message_id,
                    text=posted.text,
                    selected_text=posted.selected_text,
                    document_ids=posted.document_ids,
                    filters=posted.filters,
                )
        raise NotFound("there is no such message")

    async def stop_answer(self, request: chat.StopAnswer, _cause: Cause) -> chat.AnswerState:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        self.stopped.append(request.answer_id)
        return self.answers.get(request.answer_id, chat.AnswerState())

    async def rate_answer(self, request: chat.RateAnswer, _cause: Cause) -> chat.AnswerRated:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        rated = chat.AnswerRated(answer_id=request.answer_id, rating=request.rating, comment=request.comment)
        self.ratings[request.answer_id] = rated
        return rated

    async def get_settings(self, request: chat.GetChatSettings, _cause: Cause) -> chat.ChatSettings:
        return self.settings.get(request.workspace_id, chat.ChatSettings())

    async def change_settings(self, request: chat.ChangeChatSettings, _cause: Cause) -> chat.ChatSettings:
        if request.model == "unknown":
            raise RequestFailed("invalid", "There is no model unknown here.")
        before = self.settings.get(request.workspace_id, chat.ChatSettings())
        after = before.model_copy(update={name: getattr(request, name) for name in request.changes})
        self.settings[request.workspace_id] = after
        return after

    async def list_models(self, _request: chat.ListChatModels, _cause: Cause) -> chat.ChatModels:
        return chat.ChatModels(provider="openai", default="tiny", items=["tiny", "extractive"])

    async def list_messages(self, request: chat.ListMessages, _cause: Cause) -> chat.MessageList:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        now = datetime.now(UTC)
        turns = [posted for posted in self.posted if posted.session_id == request.session_id]
        items = [chat.SessionMessage(message_id=p.message_id, role="user", text=p.text, created_at=now) for p in turns]
        end = None if request.limit is None else request.offset + request.limit
        return chat.MessageList(items=items[request.offset : end], total=len(items))

    async def delete_session(self, request: chat.DeleteSession, _cause: Cause) -> chat.SessionDeleted:
        self._mine(request.workspace_id, request.user_id, request.session_id)
        del self.sessions[request.session_id]
        return chat.SessionDeleted(session_id=request.session_id)

    def citation(self) -> chat.Citation:
        """The one citation of every answer."""
        return chat.Citation(marker=1, document_id=UUID(int=7), filename="a.pdf", page=3, start=5, end=9, quote="true")

    async def first_question(self) -> MessagePosted:
        """What was asked first, once it has come."""

        async def has_come() -> bool:
            return bool(self.posted)

        await wait_until(has_come, seconds=20, what="chat takes the question up")
        return self.posted[0]

    async def answer(self, posted: MessagePosted, _delivery: Delivery) -> None:
        self.posted.append(posted)
        answer = chat.Answer(
            answer_id=posted.answer_id,
            session_id=posted.session_id,
            message_id=posted.message_id,
            response="".join(self.words),
            supported=True,
            citations=[self.citation()],
            created_at=datetime.now(UTC),
            truncated=self.truncated,
        )
        frames: list[dict[str, Any]] = [{"kind": FrameKind.START, "session_id": posted.session_id}]
        if self.error is not None:
            frames.append({"kind": FrameKind.ERROR, "code": self.error[0], "reason": self.error[1]})
        else:
            frames += [{"kind": FrameKind.DELTA, "text": word} for word in self.words]
            frames.append({"kind": FrameKind.CITATION, "citation": self.citation()})
            frames.append({"kind": FrameKind.DONE, "answer": answer})
        for index, fields in enumerate(frames):
            if fields["kind"] is FrameKind.DONE:
                if self.hold is not None:
                    self.held.set()
                    await self.hold.wait()
                self.answers[posted.answer_id] = chat.AnswerState(answer=answer)
            if not self.silent:
                await self.send(posted, Frame(answer_id=posted.answer_id, index=index, **fields))

    async def send(self, posted: MessagePosted, frame: Frame) -> None:
        """Publishes a frame."""
        assert self.broker is not None
        subject = f"tok.{posted.workspace_id}.{posted.answer_id}"
        await self.broker.js.publish(subject, frame.model_dump_json().encode(), stream=TOKENS)


@contextlib.asynccontextmanager
async def _running(broker: MessageBroker) -> AsyncIterator[None]:
    await broker.start()
    try:
        yield
    finally:
        # Whatever is given back is another test's first message.
        await broker.stop(grace=20)


def _broker(stack: TestStack, service: ServiceName) -> MessageBroker:
    return MessageBroker(ServiceSettings(**environment_of(stack, service)), service=service, db=None)


@pytest.fixture
async def ingest_service(stack: TestStack) -> AsyncIterator[Ingest]:
    """A stand-in for ingest."""
    service, broker = Ingest(), _broker(stack, "ingest")
    broker.answer("rpc.ingest.v1.document.get", service.get)
    broker.answer("rpc.ingest.v1.document.list", service.list)
    broker.answer("rpc.ingest.v1.document.delete", service.delete)
    broker.answer("rpc.ingest.v1.document.retry", service.retry)
    broker.answer("rpc.ingest.v1.document.cancel", service.cancel)
    broker.answer("rpc.ingest.v1.document.rename", service.rename)
    broker.answer("rpc.ingest.v1.document.change", service.change)
    broker.answer("rpc.ingest.v1.version.list", service.list_versions)
    broker.answer("rpc.ingest.v1.progress.get", service.get_progress)
    broker.answer("rpc.ingest.v1.workspace.usage", service.get_usage)
    broker.answer("rpc.ingest.v1.object.known", service.know_objects)
    broker.answer("rpc.ingest.v1.page.get", service.get_pages)
    broker.answer("rpc.ingest.v1.source.create", service.create_source)
    broker.answer("rpc.ingest.v1.source.list", service.list_sources)
    broker.answer("rpc.ingest.v1.source.get", service.get_source)
    broker.answer("rpc.ingest.v1.source.change", service.change_source)
    broker.answer("rpc.ingest.v1.source.delete", service.delete_source)
    broker.answer("rpc.ingest.v1.source.run", service.run_source)
    broker.answer("rpc.ingest.v1.source.runs", service.list_runs)
    async with _running(broker):
        yield service


@pytest.fixture
async def embed_service(stack: TestStack) -> AsyncIterator[Embed]:
    """A stand-in for embed."""
    service, broker = Embed(), _broker(stack, "embed")
    broker.answer("rpc.embed.v1.passage.search", service.search)
    broker.answer("rpc.embed.v1.passage.compare", service.compare)
    broker.answer("rpc.embed.v1.document.similar", service.find_similar)
    broker.answer("rpc.embed.v1.place.list", service.list_places)
    broker.answer("rpc.embed.v1.text.embed", service.embed_texts)
    broker.answer("rpc.embed.v1.settings.get", service.get_settings)
    broker.answer("rpc.embed.v1.settings.change", service.change_settings)
    broker.answer("rpc.embed.v1.model.list", service.list_models)
    broker.answer("rpc.embed.v1.model.register", service.register_model)
    broker.answer("rpc.embed.v1.model.remove", service.remove_model)
    broker.answer("rpc.embed.v1.change.start", service.start_change)
    broker.answer("rpc.embed.v1.change.list", service.list_changes)
    broker.answer("rpc.embed.v1.change.step", service.step_change)
    async with _running(broker):
        yield service


@pytest.fixture
async def chat_service(stack: TestStack) -> AsyncIterator[Chat]:
    """A stand-in for chat."""
    broker = _broker(stack, "chat")
    service = Chat(broker)
    broker.answer("rpc.chat.v1.session.open", service.open)
    broker.answer("rpc.chat.v1.session.list", service.list_sessions)
    broker.answer("rpc.chat.v1.session.delete", service.delete_session)
    broker.answer("rpc.chat.v1.message.list", service.list_messages)
    broker.answer("rpc.chat.v1.session.get", service.get_session)
    broker.answer("rpc.chat.v1.session.rename", service.rename_session)
    broker.answer("rpc.chat.v1.question.get", service.get_question)
    broker.answer("rpc.chat.v1.answer.get", service.get_answer)
    broker.answer("rpc.chat.v1.answer.stop", service.stop_answer)
    broker.answer("rpc.chat.v1.answer.rate", service.rate_answer)
    broker.answer("rpc.chat.v1.settings.get", service.get_settings)
    broker.answer("rpc.chat.v1.settings.change", service.change_settings)
    broker.answer("rpc.chat.v1.model.list", service.list_models)
    broker.consume("chat-message-posted", service.answer)
    async with _running(broker):
        yield service


@dataclass(frozen=True)
class Sent:
    """A server-sent event as a client reads it."""

    id: int | None
    event: str
    data: Any


@pytest.fixture(scope="session")
def read_events() -> Callable[..., AsyncIterator[Sent]]:
    """Reads the events of a streaming response."""

    async def read(response: httpx.Response) -> AsyncIterator[Sent]:
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                yield Sent(int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"]))
                fields = {}
            else:
                fields = {}

    return read

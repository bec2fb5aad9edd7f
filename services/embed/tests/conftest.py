"""The model, loaded once; the schema of embed on a real PostgreSQL; deliveries that commit without a broker."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import pytest
from docutalk_common.contracts.embed import PassagesFound, SearchFilters, SearchMode, SearchPassages
from docutalk_common.contracts.envelope import Envelope, Message
from docutalk_common.contracts.ingest import Chunk, DocumentCancelled, DocumentDeleted, DocumentRenamed, IndexChunks
from docutalk_common.db import Cause, Database, outbox
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.process import Runtime
from docutalk_common.provisioning import provision_postgres
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.app import embed, open_database
from docutalk_embed.settings import EmbedSettings
from docutalk_embed.use_cases.cancel_document import cancel_document
from docutalk_embed.use_cases.delete_document import delete_document
from docutalk_embed.use_cases.index_chunks import index_chunks
from docutalk_embed.use_cases.rename_document import rename_document
from docutalk_embed.use_cases.search_passages import search_passages
from docutalk_local.testing import TestStack
from sqlalchemy import select, text

OWN_DATABASE = "docutalk_changing"


@pytest.fixture(scope="session")
def engine() -> MiniLM:
    """The real model."""
    return MiniLM(threads=2)


@pytest.fixture(scope="session")
async def batcher(engine: MiniLM) -> AsyncIterator[MicroBatcher]:
    """The real model behind its queue."""
    batcher = MicroBatcher(engine)
    async with batcher.running():
        yield batcher


@pytest.fixture(scope="session")
def registry(batcher: MicroBatcher) -> ModelRegistry:
    """The built-in model only."""
    return ModelRegistry(batcher)


@pytest.fixture(scope="session")
def settings(stack: TestStack) -> EmbedSettings:
    """Settings as the running service gets them."""
    environment = stack.service_environment("embed")
    return EmbedSettings.model_validate(
        {name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()} | {"embed_threads": 2}
    )


@pytest.fixture(scope="session")
async def database(settings: EmbedSettings) -> AsyncIterator[Database]:
    """The schema, as the app role."""
    db = open_database(settings)
    yield db
    await db.close()


@contextlib.asynccontextmanager
async def _another_database(stack: TestStack, name: str) -> AsyncIterator[Database]:
    own = replace(stack, database=name)
    backend = stack.backend
    await provision_postgres(backend.servers.superuser_dsn, backend.secrets.postgres, database=own.database)
    environment = own.service_environment("embed")
    names = {name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()}
    db = open_database(EmbedSettings.model_validate(names))
    yield db
    await db.close()


@pytest.fixture(scope="session")
async def own_database(stack: TestStack) -> AsyncIterator[Database]:
    """The same of an installation of its own on the same servers, for what concerns an installation as a whole."""
    async with _another_database(stack, OWN_DATABASE) as db:
        yield db


@pytest.fixture(scope="session")
async def make_apart(stack: TestStack, registry: ModelRegistry) -> AsyncIterator[Callable[[], Indexed]]:
    """Makes workspaces beside which the index of vectors holds little, and nothing twice. In the other one are the sentences of
    all tests, some of them so often that it finds no way around them any more."""
    async with _another_database(stack, "docutalk_apart") as db:
        yield lambda: Indexed(db, registry)


@contextlib.asynccontextmanager
async def running_embed(settings: EmbedSettings, engine: MiniLM) -> AsyncIterator[Database]:
    """The whole service in this process, on the real servers; yields a database of its schema."""
    db = open_database(settings)
    async with embed(settings, Runtime("embed"), engine):
        yield db
    await db.close()


class Indexed:
    """Embed without a broker: documents go in, searches come out, what was emitted can be read. One workspace of its own."""

    def __init__(self, db: Database, registry: ModelRegistry) -> None:
        self.db = db
        self.registry = registry
        self.workspace_id = uuid4()

    def batches(
        self,
        texts: list[str],
        *,
        document_id: UUID | None = None,
        version: int = 1,
        attempt: int = 1,
        size: int = 64,
        filename: str = "report.txt",
        content_type: str = "text/plain",
    ) -> list[IndexChunks]:
        """The work that ingest would send for a document with these chunks, one on each page."""
        document_id = document_id or uuid4()
        chunks = [
            Chunk(
                chunk_id=uuid5(document_id, f"{version}/{ordinal}"),
                ordinal=ordinal,
                page=ordinal + 1,
                start=10,
                end=10 + len(text),
                text=text,
            )
            for ordinal, text in enumerate(texts)
        ]
        parts = [chunks[start : start + size] for start in range(0, len(chunks), size)]
        return [
            IndexChunks(
                workspace_id=self.workspace_id,
                document_id=document_id,
                version=version,
                attempt=attempt,
                filename=filename,
                content_type=content_type,
                document_created_at=datetime(2026, 1, 2, tzinfo=UTC),
                batch=number,
                batch_count=len(parts),
                chunk_count=len(chunks),
                chunks=part,
            )
            for number, part in enumerate(parts)
        ]

    def delivery(self, message: Message, *, sent_at: datetime | None = None) -> Delivery:
        """A delivery of its own message id."""
        envelope = Envelope(
            type=message.type,
            source="ingest",
            subject="test",
            workspace_id=message.workspace_id,
            correlation_id=Cause.new().correlation_id,
            time=sent_at or datetime.now(UTC),
            data={},
        )
        return Delivery(envelope, 1, "embed-test", self.db)

    async def index(self, work: IndexChunks, *, sent_at: datetime | None = None) -> None:
        """Handles one batch."""
        await index_chunks(work, self.delivery(work, sent_at=sent_at), self.registry)

    async def add(self, texts: list[str], *, filename: str = "report.txt", content_type: str = "text/plain") -> UUID:
        """A whole document; returns its id."""
        batches = self.batches(texts, filename=filename, content_type=content_type)
        for work in batches:
            await self.index(work)
        return batches[0].document_id

    async def delete(self, document_id: UUID, version: int = 1) -> None:
        """Handles `DocumentDeleted`."""
        event = DocumentDeleted(workspace_id=self.workspace_id, document_id=document_id, version=version, object_keys=[])
        await delete_document(event, self.delivery(event))

    async def cancel(self, document_id: UUID, *, version: int = 1, attempt: int = 1) -> None:
        """Handles `DocumentCancelled`."""
        event = DocumentCancelled(workspace_id=self.workspace_id, document_id=document_id, version=version, attempt=attempt)
        await cancel_document(event, self.delivery(event))

    async def rename(self, document_id: UUID, filename: str, *, sent_at: datetime | None = None) -> None:
        """Handles `DocumentRenamed`."""
        event = DocumentRenamed(workspace_id=self.workspace_id, document_id=document_id, filename=filename)
        await rename_document(event, self.delivery(event, sent_at=sent_at))

    async def search(
        self, query: str, *, mode: SearchMode = SearchMode.HYBRID, limit: int = 10, filters: SearchFilters | None = None
    ) -> PassagesFound:
        """Searches the workspace."""
        request = SearchPassages(
            workspace_id=self.workspace_id, query=query, mode=mode, limit=limit, filters=filters or SearchFilters()
        )
        return await search_passages(request, self.db, self.registry)

    async def emitted(self, document_id: UUID, entity: str) -> list[dict[str, object]]:
        """The data of the events about a document in the outbox; `entity` is `document` or `chunks`."""
        async with self.db.read() as session:
            rows = await session.execute(
                select(outbox.c.payload).where(outbox.c.subject.contains(str(document_id))).order_by(outbox.c.id)
            )
            envelopes = [Envelope.model_validate_json(payload) for (payload,) in rows]
        return [envelope.data for envelope in envelopes if envelope.type.split(".")[1] == entity]

    async def stored(self, document_id: UUID) -> list[tuple[object, ...]]:
        """Every chunk of a document with its vector, in order."""
        async with self.db.read() as session:
            rows = await session.execute(
                text(
                    "SELECT c.chunk_id, c.version, c.ordinal, c.page, c.start_offset, c.end_offset, c.text, c.words::text,"
                    " e.embedding::text FROM chunks c LEFT JOIN embeddings_1 e USING (chunk_id)"
                    " WHERE c.document_id = :document_id ORDER BY c.version, c.ordinal"
                ),
                {"document_id": document_id},
            )
            return [tuple(row) for row in rows]

    async def counts(self) -> tuple[int, dict[str, int]]:
        """The workspace's number of chunks, and in how many each word occurs."""
        async with self.db.read() as session:
            keys = {"workspace_id": self.workspace_id}
            chunks = await session.scalar(text("SELECT chunk_count FROM workspaces WHERE workspace_id = :workspace_id"), keys)
            rows = await session.execute(text("SELECT lexeme, chunk_count FROM lexemes WHERE workspace_id = :workspace_id"), keys)
            return int(chunks or 0), {lexeme: int(count) for lexeme, count in rows}


@pytest.fixture
def make_indexed(database: Database, registry: ModelRegistry) -> Callable[[], Indexed]:
    """Makes workspaces."""
    return lambda: Indexed(database, registry)


@pytest.fixture
def indexed(make_indexed: Callable[[], Indexed]) -> Indexed:
    """A new, empty workspace."""
    return make_indexed()

"""Every consumer of ingest against the suite that all consumers inherit."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.embed import ChunksIndexed, DocumentIndexed
from docutalk_common.contracts.envelope import DocumentEvent, Message
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import DocumentDeleted, DocumentPruned, DocumentStatus, ExtractDocument, PageRef
from docutalk_common.db import Database
from docutalk_common.errors import NotFound
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import ConsumerConformance, VersionedConsumerConformance
from docutalk_ingest.adapters.repository import DocumentRepository
from docutalk_ingest.adapters.tables import documents
from docutalk_local.testing import TestStack
from sqlalchemy import select

from .world import embedding, registered, running, store, uploaded


async def row(db: Database, message: Any) -> dict[str, Any] | None:
    """What is stored of the document that a message is about."""
    async with db.read() as session:
        found = await session.execute(select(documents).where(documents.c.document_id == message.document_id))
        return dict(entry) if (entry := found.mappings().one_or_none()) else None


class OfIngest(VersionedConsumerConformance):
    @pytest.fixture(autouse=True)
    def _servers(self, stack: TestStack, storage: ObjectStorage) -> None:
        self.storage = storage

    def running(self, stack: Any) -> AbstractAsyncContextManager[Database]:
        return running(stack)


class TestDocumentUploaded(OfIngest):
    durable = "ingest-document-uploaded"

    async def arrange(self, db: Database) -> Message:
        upload = uploaded()
        await store(self.storage, upload)
        return upload

    async def effect(self, db: Database, message: Message) -> Any:
        found = await row(db, message)
        return found and {name: found[name] for name in ("version", "filename", "object_key", "created_at", "created_by")}

    async def stale(self, db: Database) -> tuple[Message, Message]:
        upload = uploaded(version=2)
        await registered(db, upload, status=DocumentStatus.READY)
        return upload.model_copy(update={"version": 1, "object_key": "older"}), upload


class TestDocumentExtract(OfIngest):
    durable = "ingest-document-extract"

    async def arrange(self, db: Database) -> Message:
        return await self._queued(db, uploaded())

    async def _queued(self, db: Database, upload: DocumentUploaded) -> Message:
        await store(self.storage, upload)
        await registered(db, upload)
        return ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, ExtractDocument)
        found = await row(db, message)
        assert found is not None
        async with db.read() as session:
            pages = await DocumentRepository(session).pages(
                message.workspace_id, [PageRef(document_id=message.document_id, number=1)]
            )
        return {name: found[name] for name in ("status", "page_count", "pages_done", "chunk_count", "reason")}, pages

    async def stale(self, db: Database) -> tuple[Message, Message]:
        work = await self._queued(db, uploaded(version=2))
        return work, work


class TestChunksIndexed(OfIngest):
    durable = "ingest-chunks-indexed"

    async def arrange(self, db: Database) -> Message:
        return self._about(await embedding(db))

    def _about(self, upload: DocumentUploaded) -> ChunksIndexed:
        return ChunksIndexed(workspace_id=upload.workspace_id, document_id=upload.document_id, chunks_done=4, chunk_count=10)

    async def effect(self, db: Database, message: Message) -> Any:
        found = await row(db, message)
        return found and (found["status"], found["chunks_done"])

    async def stale(self, db: Database) -> tuple[Message, Message]:
        message = self._about(await embedding(db, version=2))
        return message, message


class TestDocumentIndexed(OfIngest):
    durable = "ingest-document-indexed"

    async def arrange(self, db: Database) -> Message:
        return self._about(await embedding(db))

    def _about(self, upload: DocumentUploaded) -> DocumentIndexed:
        return DocumentIndexed(workspace_id=upload.workspace_id, document_id=upload.document_id, chunk_count=10)

    async def effect(self, db: Database, message: Message) -> Any:
        found = await row(db, message)
        return found and (found["status"], found["chunks_done"], found["updated_at"])

    async def stale(self, db: Database) -> tuple[Message, Message]:
        message = self._about(await embedding(db, version=2))
        return message, message


class TestDocumentDeleted(ConsumerConformance):
    durable = "ingest-document-deleted"

    @pytest.fixture(autouse=True)
    def _servers(self, stack: TestStack, storage: ObjectStorage) -> None:
        self.storage = storage

    def running(self, stack: Any) -> AbstractAsyncContextManager[Database]:
        return running(stack)

    async def arrange(self, db: Database) -> Message:
        upload = uploaded()
        await store(self.storage, upload)
        return DocumentDeleted(
            workspace_id=upload.workspace_id,
            document_id=upload.document_id,
            object_keys=[upload.object_key],
            deleted_by=uuid4(),
        )

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, DocumentEvent)
        assert isinstance(message, DocumentDeleted)
        try:
            return (await self.storage.stat(message.object_keys[0])).size
        except NotFound:
            return "gone"


class TestDocumentPruned(ConsumerConformance):
    durable = "ingest-document-pruned"

    @pytest.fixture(autouse=True)
    def _servers(self, stack: TestStack, storage: ObjectStorage) -> None:
        self.storage = storage

    def running(self, stack: Any) -> AbstractAsyncContextManager[Database]:
        return running(stack)

    async def arrange(self, db: Database) -> Message:
        upload = uploaded()
        await store(self.storage, upload)
        return DocumentPruned(
            workspace_id=upload.workspace_id,
            document_id=upload.document_id,
            version=12,
            versions=[2],
            object_keys=[upload.object_key],
        )

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, DocumentPruned)
        try:
            return (await self.storage.stat(message.object_keys[0])).size
        except NotFound:
            return "gone"

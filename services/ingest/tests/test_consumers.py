"""Every consumer of ingest against the suite that all consumers inherit."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any
from uuid import uuid4

from docutalk_common.contracts.embed import ChunksIndexed, DocumentIndexed
from docutalk_common.contracts.envelope import Message
from docutalk_common.contracts.gateway import DocumentUploaded, UserDeleted, WorkspaceDeleted
from docutalk_common.contracts.ingest import DocumentDeleted, DocumentPruned, DocumentStatus, ExtractDocument, PageRef
from docutalk_common.db import Database
from docutalk_common.errors import NotFound
from docutalk_common.testing.conformance import VersionedConsumerConformance
from docutalk_ingest.adapters.page_repository import PageRepository
from docutalk_ingest.adapters.tables import documents, erased_workspaces
from sqlalchemy import select

from .world import IngestConformance, embedding, registered, store, uploaded


async def row(db: Database, message: Any) -> dict[str, Any] | None:
    """What is stored of the document that a message is about."""
    async with db.read() as session:
        found = await session.execute(select(documents).where(documents.c.document_id == message.document_id))
        return dict(entry) if (entry := found.mappings().one_or_none()) else None


class TestDocumentUploaded(IngestConformance, VersionedConsumerConformance):
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


class TestDocumentExtract(IngestConformance, VersionedConsumerConformance):
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
            pages = await PageRepository(session).pages(
                message.workspace_id, [PageRef(document_id=message.document_id, number=1)]
            )
        return {name: found[name] for name in ("status", "page_count", "pages_done", "chunk_count", "reason")}, pages

    async def stale(self, db: Database) -> tuple[Message, Message]:
        work = await self._queued(db, uploaded(version=2))
        return work, work


class TestChunksIndexed(IngestConformance, VersionedConsumerConformance):
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


class TestDocumentIndexed(IngestConformance, VersionedConsumerConformance):
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


class OfObjects(IngestConformance):
    """Messages that name an object which is to go."""

    @abstractmethod
    def about(self, upload: DocumentUploaded) -> DocumentDeleted | DocumentPruned:
        """The message that names the object of this upload."""

    async def arrange(self, db: Database) -> Message:
        upload = uploaded()
        await store(self.storage, upload)
        return self.about(upload)

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, DocumentDeleted | DocumentPruned)
        try:
            return (await self.storage.stat(message.object_keys[0])).size
        except NotFound:
            return "gone"


class TestDocumentDeleted(OfObjects):
    durable = "ingest-document-deleted"

    def about(self, upload: DocumentUploaded) -> DocumentDeleted:
        ids = {"workspace_id": upload.workspace_id, "document_id": upload.document_id}
        return DocumentDeleted(**ids, object_keys=[upload.object_key], deleted_by=uuid4())


class TestDocumentPruned(OfObjects):
    durable = "ingest-document-pruned"

    def about(self, upload: DocumentUploaded) -> DocumentPruned:
        ids = {"workspace_id": upload.workspace_id, "document_id": upload.document_id}
        return DocumentPruned(**ids, version=12, versions=[2], object_keys=[upload.object_key])


class TestWorkspaceDeleted(IngestConformance):
    durable = "ingest-workspace-deleted"

    async def arrange(self, db: Database) -> Message:
        upload = uploaded()
        await store(self.storage, upload)
        await registered(db, upload, status=DocumentStatus.READY)
        return WorkspaceDeleted(workspace_id=upload.workspace_id, erasure_id=uuid4())

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, WorkspaceDeleted)
        tombstones = select(erased_workspaces.c.removed).where(erased_workspaces.c.workspace_id == message.workspace_id)
        left = select(documents.c.document_id).where(documents.c.workspace_id == message.workspace_id)
        async with db.read() as session:
            removed, ids = list(await session.scalars(tombstones)), list(await session.scalars(left))
        return removed, ids, await self.storage.keys(f"{message.workspace_id}/")


class TestUserDeleted(IngestConformance):
    durable = "ingest-user-deleted"

    async def arrange(self, db: Database) -> Message:
        self.upload = uploaded()
        await registered(db, self.upload, status=DocumentStatus.READY)
        return UserDeleted(user_id=self.upload.uploaded_by, erasure_id=uuid4())

    async def effect(self, db: Database, message: Message) -> Any:
        found = await row(db, self.upload)
        return found and (found["created_by"], found["updated_at"])

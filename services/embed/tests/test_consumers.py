"""What every consumer must do, done by embed's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.envelope import Message
from docutalk_common.contracts.gateway import UserDeleted, WorkspaceDeleted
from docutalk_common.contracts.ingest import DocumentCancelled, DocumentDeleted, DocumentRenamed, IndexChunks, IndexChunksExpress
from docutalk_common.db import Cause, Database
from docutalk_common.testing.conformance import ConsumerConformance, VersionedConsumerConformance
from docutalk_common.testing.leftovers import leftovers
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.settings import EmbedSettings
from docutalk_local.testing import TestStack
from sqlalchemy import text

from .conftest import Indexed, running_embed

TEXTS = ["Pumps were replaced.", "Valves were not.", "Nothing was said of gardens."]


class OfEmbed:
    """The service in this process, and pictures of what it stored."""

    indexed: Indexed
    settings: EmbedSettings
    engine: MiniLM

    @pytest.fixture(autouse=True)
    def given(self, settings: EmbedSettings, engine: MiniLM, indexed: Indexed) -> None:
        """What `running` and `arrange` use."""
        self.settings = settings
        self.engine = engine
        self.indexed = indexed

    @contextlib.asynccontextmanager
    async def running(self, stack: TestStack) -> AsyncIterator[Database]:
        async with running_embed(self.settings, self.engine) as db:
            yield db

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, (DocumentCancelled, DocumentDeleted, DocumentRenamed, IndexChunks))
        document_id = message.document_id
        self.indexed.workspace_id = message.workspace_id
        async with db.read() as session:
            state = await session.execute(
                text(
                    "SELECT version, live_version, live_chunk_count, deleted, chunks_done, batches_done, filename FROM documents"
                    " WHERE document_id = :document_id"
                ),
                {"document_id": document_id},
            )
            return (
                [tuple(row) for row in state],
                await self.indexed.stored(document_id),
                await self.indexed.counts(),
            )


class TestChunksIndex(OfEmbed, VersionedConsumerConformance):
    """`embed-chunks-index`."""

    durable = "embed-chunks-index"

    async def arrange(self, db: Database) -> Message:
        return self.indexed.batches(TEXTS, size=2)[0]

    async def stale(self, db: Database) -> tuple[Message, Message]:
        [current] = self.indexed.batches(TEXTS, version=2)
        await self.indexed.index(current)
        [old] = self.indexed.batches(["An earlier text."], document_id=current.document_id, version=1)
        return old, current


class TestChunksExpress(OfEmbed, VersionedConsumerConformance):
    """`embed-chunks-express`."""

    durable = "embed-chunks-express"

    async def arrange(self, db: Database) -> Message:
        return express(self.indexed.batches(TEXTS, size=2)[0])

    async def stale(self, db: Database) -> tuple[Message, Message]:
        [current] = self.indexed.batches(TEXTS, version=2)
        await self.indexed.index(current)
        [old] = self.indexed.batches(["An earlier text."], document_id=current.document_id, version=1)
        return express(old), current


def express(work: IndexChunks) -> IndexChunksExpress:
    """The same work in a hurry."""
    return IndexChunksExpress(**work.model_dump())


class TestDocumentCancelled(OfEmbed, VersionedConsumerConformance):
    """`embed-document-cancelled`."""

    durable = "embed-document-cancelled"

    async def arrange(self, db: Database) -> Message:
        first, _ = self.indexed.batches(TEXTS, size=2)
        await self.indexed.index(first)
        return DocumentCancelled(workspace_id=first.workspace_id, document_id=first.document_id)

    async def stale(self, db: Database) -> tuple[Message, Message]:
        current, _ = self.indexed.batches(TEXTS, version=2, size=2)
        await self.indexed.index(current)
        return DocumentCancelled(workspace_id=current.workspace_id, document_id=current.document_id, attempt=7), current


class TestDocumentRenamed(OfEmbed, ConsumerConformance):
    """`embed-document-renamed`; a name is of all versions, so none is stale."""

    durable = "embed-document-renamed"

    async def arrange(self, db: Database) -> Message:
        document_id = await self.indexed.add(TEXTS)
        return DocumentRenamed(workspace_id=self.indexed.workspace_id, document_id=document_id, filename="renamed.txt")


class TestDocumentDeleted(OfEmbed, ConsumerConformance):
    """`embed-document-deleted`."""

    durable = "embed-document-deleted"

    async def arrange(self, db: Database) -> Message:
        document_id = await self.indexed.add(TEXTS)
        return DocumentDeleted(workspace_id=self.indexed.workspace_id, document_id=document_id, object_keys=[])


class TestWorkspaceDeleted(OfEmbed, ConsumerConformance):
    """`embed-workspace-deleted`."""

    durable = "embed-workspace-deleted"

    async def arrange(self, db: Database) -> Message:
        await self.indexed.add(TEXTS)
        return WorkspaceDeleted(workspace_id=self.indexed.workspace_id, erasure_id=uuid4())

    async def effect(self, db: Database, message: Message) -> Any:
        # Not what waits to be sent: the running service is sending it.
        return await leftovers(db, [message.workspace_id], but=["outbox"])


class TestUserDeleted(OfEmbed, ConsumerConformance):
    """`embed-user-deleted`."""

    durable = "embed-user-deleted"

    async def arrange(self, db: Database) -> Message:
        """A change of model that has ended long ago, so that nobody works on it."""
        user_id = uuid4()
        async with db.transaction(Cause.new()) as transaction:
            await transaction.session.execute(
                text(
                    "INSERT INTO model_changes (change_id, from_model, to_model, state, started_by, ended_at)"
                    " VALUES (:change_id, 1, 1, 'cancelled', :user_id, now())"
                ),
                {"change_id": uuid4(), "user_id": user_id},
            )
        return UserDeleted(user_id=user_id, erasure_id=uuid4())

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, UserDeleted)
        return await leftovers(db, [message.user_id])

"""What every consumer must do, done by chat's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from docutalk_chat.adapters.models import answers, citations, documents, messages, sessions
from docutalk_chat.adapters.session_repository import create_session
from docutalk_common.contracts.envelope import Message, uuid7
from docutalk_common.contracts.gateway import MessagePosted, UserDeleted, WorkspaceDeleted
from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.testing.conformance import ConsumerConformance, Wire
from docutalk_common.testing.leftovers import leftovers
from docutalk_local.testing import TestStack
from sqlalchemy import select

from .factories import stored_citation
from .world import Documents, running_chat


class TestMessagePosted(ConsumerConformance):
    """`chat-message-posted`."""

    durable = "chat-message-posted"

    @pytest.fixture(autouse=True)
    async def elsewhere(self, wire: Wire) -> AsyncIterator[None]:
        """A document that answers the question."""
        documents = Documents()
        documents.add("The harvest of 2021 was 412 tonnes of apples. The rain came late.")
        async with documents.served(wire):
            yield

    @contextlib.asynccontextmanager
    async def running(self, stack: TestStack) -> AsyncIterator[Database]:
        async with running_chat(stack) as db:
            yield db

    async def arrange(self, db: Database) -> Message:
        workspace_id, user_id = uuid7(), uuid7()
        async with db.transaction(Cause.new()) as transaction:
            session_id = await create_session(transaction.session, workspace_id, user_id)
        return MessagePosted(
            workspace_id=workspace_id,
            message_id=uuid7(),
            answer_id=uuid7(),
            session_id=session_id,
            user_id=user_id,
            text="How many tonnes of apples was the harvest of 2021?",
        )

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, MessagePosted)
        of_session = [
            select(sessions.c.title).where(sessions.c.session_id == message.session_id),
            select(messages.c.message_id, messages.c.role, messages.c.text)
            .where(messages.c.session_id == message.session_id)
            .order_by(messages.c.position),
            select(answers.c.answer_id, answers.c.status, answers.c.supported).where(answers.c.session_id == message.session_id),
            select(citations.c.marker, citations.c.quote).where(citations.c.answer_id == message.answer_id),
        ]
        async with db.read() as session:
            return [[tuple(row) for row in await session.execute(query)] for query in of_session]


class TestDocumentDeleted(ConsumerConformance):
    """`chat-document-deleted`."""

    durable = "chat-document-deleted"

    @contextlib.asynccontextmanager
    async def running(self, stack: TestStack) -> AsyncIterator[Database]:
        async with running_chat(stack) as db:
            yield db

    async def arrange(self, db: Database) -> Message:
        workspace_id, document_id = await stored_citation(db)
        return DocumentDeleted(workspace_id=workspace_id, document_id=document_id, object_keys=[])

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, DocumentDeleted)
        queries = [
            select(citations.c.quote, citations.c.source_deleted_at).where(citations.c.document_id == message.document_id),
            select(documents).where(documents.c.document_id == message.document_id),
        ]
        async with db.read() as session:
            return [[tuple(row) for row in await session.execute(query)] for query in queries]


class OfErasure(ConsumerConformance):
    """What is left of somebody; not what waits to be sent, which the running service is sending."""

    @contextlib.asynccontextmanager
    async def running(self, stack: TestStack) -> AsyncIterator[Database]:
        async with running_chat(stack) as db:
            yield db


class TestWorkspaceDeleted(OfErasure):
    """`chat-workspace-deleted`."""

    durable = "chat-workspace-deleted"

    async def arrange(self, db: Database) -> Message:
        workspace_id, _ = await stored_citation(db)
        return WorkspaceDeleted(workspace_id=workspace_id, erasure_id=uuid7())

    async def effect(self, db: Database, message: Message) -> Any:
        return await leftovers(db, [message.workspace_id], but=["outbox"])


class TestUserDeleted(OfErasure):
    """`chat-user-deleted`."""

    durable = "chat-user-deleted"

    async def arrange(self, db: Database) -> Message:
        workspace_id, _ = await stored_citation(db)
        async with db.read() as session:
            user_id = await session.scalar(select(sessions.c.user_id).where(sessions.c.workspace_id == workspace_id))
        assert user_id is not None
        return UserDeleted(user_id=user_id, erasure_id=uuid7())

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, UserDeleted)
        return await leftovers(db, [message.user_id], but=["outbox"])

"""Citations of documents that get a new version, before and after the answer is stored."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from docutalk_chat.adapters.models import citations, documents
from docutalk_chat.adapters.source_repository import mark_source_changed
from docutalk_common.contracts.envelope import Envelope, Message
from docutalk_common.contracts.ingest import DocumentReady
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.streams import durable
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import VersionedConsumerConformance, Wire, envelope_for
from docutalk_local.testing import TestStack
from sqlalchemy import select

from .factories import stored_citation
from .world import SECONDS, Documents, Person, running_chat

APPLES = "The harvest of 2021 was 412 tonnes of apples."


def ready(workspace_id: UUID, document_id: UUID, version: int) -> DocumentReady:
    """A version of a document can be found."""
    return DocumentReady(workspace_id=workspace_id, document_id=document_id, version=version, page_count=1, chunk_count=1)


async def became_ready(wire: Wire, person: Person, document_id: UUID, version: int) -> Envelope:
    """Sends that and waits until chat has taken it."""
    envelope = envelope_for(ready(person.workspace_id, document_id, version))
    await wire.send(envelope)
    await wait_until(lambda: wire.settled(durable("chat-document-ready")), seconds=SECONDS, what="chat takes the version")
    return envelope


async def test_citation_says_when_its_version_ceased_to_be_the_latest(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    passage = documents.add(APPLES)
    async with running_chat(stack):
        posted, _ = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")

        async def changed_at() -> datetime | None:
            state = await person.state(posted)
            assert state.answer is not None
            [citation] = state.answer.citations
            assert (citation.version, citation.quote in APPLES) == (1, True)
            return citation.source_changed_at

        await became_ready(wire, person, passage.document_id, 1)
        assert await changed_at() is None
        second = await became_ready(wire, person, passage.document_id, 2)
        assert await changed_at() == second.time
        await became_ready(wire, person, passage.document_id, 3)
        assert await changed_at() == second.time


async def test_answer_that_is_stored_after_the_change_says_so_too(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    passage = documents.add(APPLES)
    async with running_chat(stack):
        second = await became_ready(wire, person, passage.document_id, 2)
        _, old = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")
        documents.passages[0] = passage.model_copy(update={"version": 2})
        documents.versions[passage.document_id] = 2
        _, new = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")
    assert old[-1].answer is not None
    assert new[-1].answer is not None
    assert [one.source_changed_at for one in old[-1].answer.citations] == [second.time]
    assert [one.source_changed_at for one in new[-1].answer.citations] == [None]


class TestDocumentReady(VersionedConsumerConformance):
    """`chat-document-ready`."""

    durable = "chat-document-ready"

    @contextlib.asynccontextmanager
    async def running(self, stack: TestStack) -> AsyncIterator[Database]:
        async with running_chat(stack) as db:
            yield db

    async def arrange(self, db: Database) -> Message:
        return ready(*await stored_citation(db), 2)

    async def stale(self, db: Database) -> tuple[Message, Message]:
        workspace_id, document_id = await stored_citation(db)
        async with db.transaction(Cause.new()) as transaction:
            await mark_source_changed(transaction.session, workspace_id, document_id, 3, datetime.now(UTC))
        return ready(workspace_id, document_id, 2), ready(workspace_id, document_id, 3)

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, DocumentReady)
        queries = [
            select(citations.c.quote, citations.c.source_changed_at).where(citations.c.document_id == message.document_id),
            select(documents).where(documents.c.document_id == message.document_id),
        ]
        async with db.read() as session:
            found = [[tuple(row) for row in await session.execute(query)] for query in queries]
        # Times are those of the events, and differ between one and the same under a new id.
        return [[tuple(value if not isinstance(value, datetime) else "set" for value in row) for row in rows] for rows in found]

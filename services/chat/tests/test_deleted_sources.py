"""Citations of documents that are deleted, before and after the answer is stored; quotes of documents that have versions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from docutalk_chat.adapters import repository, session_repository, source_repository
from docutalk_common.contracts.chat import Answer, Citation, ListMessages, MessageList
from docutalk_common.contracts.envelope import Envelope, uuid7
from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import EVENTS, durable
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_local.testing import TestStack

from .world import SECONDS, Documents, Person, running_chat

APPLES = "The harvest of 2021 was 412 tonnes of apples."


async def deleted(wire: Wire, person: Person, document_id: UUID) -> Envelope:
    """Sends the deletion of a document and waits until chat has taken it."""
    envelope = envelope_for(DocumentDeleted(workspace_id=person.workspace_id, document_id=document_id, object_keys=[]))
    await wire.send(envelope)
    await wait_until(lambda: wire.settled(durable("chat-document-deleted")), seconds=SECONDS, what="chat takes the deletion")
    return envelope


async def receipts(wire: Wire, document_id: UUID) -> list[object]:
    found = await event_log.read(wire.nc, EVENTS, f"evt.chat.v1.document.uncited.*.{document_id}")
    return [Envelope.model_validate_json(item.data).data["citations"] for item in found]


async def test_citations_of_a_deleted_document_say_so_and_a_receipt_counts_them(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    passage = documents.add(APPLES)
    async with running_chat(stack):
        session_id = await person.open_session()
        posted, _ = await person.ask(session_id, "How many tonnes of apples was the harvest?")
        event = await deleted(wire, person, passage.document_id)
        state = await person.state(posted)
        messages = await person.request("rpc.chat.v1.message.list", ListMessages, MessageList, session_id=session_id)

        async def told() -> bool:
            return await receipts(wire, passage.document_id) == [1]

        await wait_until(told, seconds=SECONDS, what="the receipt is there")
    assert state.answer is not None
    (citation,) = state.answer.citations
    assert citation.quote in APPLES
    assert citation.source_deleted_at == event.time
    assert messages.items[1].citations == [citation]


async def test_citation_that_is_stored_after_the_deletion_says_so_too(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    passage = documents.add(APPLES)
    async with running_chat(stack):
        event = await deleted(wire, person, passage.document_id)
        posted, frames = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")
        state = await person.state(posted)
    assert state.answer is not None
    assert frames[-1].answer is not None
    for answer in (state.answer, frames[-1].answer):
        assert [citation.source_deleted_at for citation in answer.citations] == [event.time]


async def test_deletion_waits_for_an_answer_that_is_just_being_stored(stack: TestStack, wire: Wire, person: Person) -> None:
    async with running_chat(stack) as db:
        citation = Citation(marker=1, document_id=uuid7(), filename="report.pdf", page=1, start=0, end=3, quote="The")
        answer = await _begun(db, person, [citation])
        async with db.transaction(Cause.new()) as storing:
            assert await repository.complete_answer(storing.session, answer) == answer
            deletion = asyncio.create_task(_delete(db, citation.document_id))
            done, _ = await asyncio.wait([deletion], timeout=0.2)
            assert not done
        assert await asyncio.wait_for(deletion, SECONDS) == 1


async def _begun(db: Database, person: Person, citations: list[Citation]) -> Answer:
    async with db.transaction(Cause.new()) as transaction:
        session_id = await session_repository.create_session(transaction.session, person.workspace_id, person.user_id)
        posted = person.message(session_id, "How many?")
        await repository.begin_answer(transaction.session, posted)
    return Answer(
        answer_id=posted.answer_id,
        session_id=session_id,
        message_id=posted.message_id,
        response="The [1]",
        supported=True,
        citations=citations,
        created_at=datetime.now(UTC),
    )


async def _delete(db: Database, document_id: UUID) -> int | None:
    async with db.transaction(Cause.new()) as transaction:
        return await source_repository.mark_source_deleted(transaction.session, uuid7(), document_id, datetime.now(UTC))


async def test_quote_is_checked_on_the_page_of_the_version_in_which_it_was_found(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    found = documents.add(APPLES)
    documents.versions[found.document_id] = 3
    documents.passages[0] = found.model_copy(update={"version": 2})
    async with running_chat(stack):
        posted, _ = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")
        state = await person.state(posted)
    assert state.answer is not None
    assert [citation.version for citation in state.answer.citations] == [2]

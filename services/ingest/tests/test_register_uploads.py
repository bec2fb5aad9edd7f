"""Uploads that come while others are being registered share a transaction, and none of them suffers for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from docutalk_common.contracts.envelope import Envelope, uuid7
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import DocumentStatus
from docutalk_common.db import Database, outbox
from docutalk_common.messaging.consumer import AlreadyHandled, Delivery
from docutalk_common.storage import ObjectStorage
from docutalk_ingest.domain import Window
from docutalk_ingest.use_cases.register_uploads import UploadRegistrar
from docutalk_local.testing import TestStack
from sqlalchemy import select

from .world import look, resting, uploaded

NO_ROOM = Window(0, 0)


@pytest.fixture
async def db(stack: TestStack) -> AsyncIterator[Database]:
    async with resting(stack) as db:
        yield db


def delivery_of(upload: DocumentUploaded, db: Database) -> Delivery:
    envelope = Envelope(
        type=upload.type,
        source="gateway",
        subject=upload.subject(),
        workspace_id=upload.workspace_id,
        correlation_id=uuid7(),
        data={},
    )
    return Delivery(envelope, 1, "ingest-document-uploaded", db)


async def register(
    uploads: Sequence[DocumentUploaded], deliveries: Sequence[Delivery], storage: ObjectStorage
) -> list[BaseException | None]:
    """All at once, by one registrar."""
    registrar = UploadRegistrar(NO_ROOM, storage)
    calls = (registrar(upload, delivery) for upload, delivery in zip(uploads, deliveries, strict=True))
    return await asyncio.gather(*calls, return_exceptions=True)


async def progress_told(db: Database, upload: DocumentUploaded) -> list[Envelope]:
    async with db.read() as session:
        rows = await session.scalars(select(outbox.c.payload).where(outbox.c.subject.contains(str(upload.document_id))))
        return [Envelope.model_validate_json(payload) for payload in rows]


async def test_uploads_that_come_at_once_are_each_queued_once_with_their_own_cause(db: Database, storage: ObjectStorage) -> None:
    uploads = [uploaded(filename=f"log-{n}.txt") for n in range(40)]
    deliveries = [delivery_of(upload, db) for upload in uploads]
    assert set(await register(uploads, deliveries, storage)) == {None}
    for upload, delivery in zip(uploads, deliveries, strict=True):
        document = await look(db, upload)
        assert document is not None
        assert (document.status, document.filename, document.version) == (DocumentStatus.QUEUED, upload.filename, 1)
        [told] = await progress_told(db, upload)
        assert (told.correlation_id, told.causation_id) == (delivery.envelope.correlation_id, delivery.envelope.id)


async def test_message_that_was_handled_before_or_comes_twice_is_told_so(db: Database, storage: ObjectStorage) -> None:
    uploads = [uploaded() for _ in range(6)]
    deliveries = [delivery_of(upload, db) for upload in uploads]
    await register(uploads[:2], deliveries[:2], storage)
    again = [Delivery(delivery.envelope, 2, delivery.consumer, db) for delivery in [*deliveries, *deliveries[:4]]]
    outcomes = await register([*uploads, *uploads[:4]], again, storage)
    assert [isinstance(outcome, AlreadyHandled) for outcome in outcomes] == [True] * 2 + [False] * 4 + [True] * 4
    for upload in uploads:
        assert len(await progress_told(db, upload)) == 1


async def test_upload_that_cannot_be_stored_takes_no_other_with_it(db: Database, storage: ObjectStorage) -> None:
    uploads = [uploaded(filename="half \x00 name.txt" if n == 3 else f"log-{n}.txt") for n in range(8)]
    outcomes = await register(uploads, [delivery_of(upload, db) for upload in uploads], storage)
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [3]
    assert [await look(db, upload) is not None for upload in uploads] == [n != 3 for n in range(8)]


async def test_later_versions_among_new_documents_are_registered_as_such(db: Database, storage: ObjectStorage) -> None:
    first = uploaded(filename="first.txt")
    await register([first], [delivery_of(first, db)], storage)
    second = first.model_copy(update={"version": 2, "filename": "second.txt"})
    others = [uploaded() for _ in range(5)]
    uploads = [*others, second]
    assert set(await register(uploads, [delivery_of(upload, db) for upload in uploads], storage)) == {None}
    document = await look(db, second)
    assert document is not None
    assert (document.version, document.filename) == (2, "second.txt")

"""Erasures that meet work that is going on, or end in the middle. No service runs beside the one that a test starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.contracts.ingest import DataErased, DocumentStatus, ExtractDocument
from docutalk_common.db import Cause, Database, outbox
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.use_cases.erase_workspace import WorkspaceEraser
from docutalk_ingest.use_cases.extract_document import DocumentExtractor
from docutalk_local.testing import Backend, TestStack
from sqlalchemy import select, text

from .erasure_world import SECONDS, deletion, delivery_of, mentions, receipt, receipts
from .world import look, registered, resting, store, uploaded

MANY = 30_000
_DOCUMENTS = text(
    """
    INSERT INTO documents (document_id, workspace_id, version, filename, content_type, size, sha256, object_key, status,
      created_by, created_at)
    SELECT gen_random_uuid(), :workspace, 1, 'a.txt', 'text/plain', 1, '', n::text, 'ready', gen_random_uuid(), now()
    FROM generate_series(1, :many) n
    """
)
_VERSIONS = text(
    """
    INSERT INTO versions (document_id, version, filename, content_type, size, sha256, object_key, created_by, created_at)
    SELECT document_id, 1, filename, content_type, size, sha256, object_key, created_by, created_at
    FROM documents WHERE workspace_id = :workspace
    """
)
_PAGES = text(
    """
    INSERT INTO pages (document_id, version, number, label, text)
    SELECT document_id, 1, 1, '1', 'A page.' FROM documents WHERE workspace_id = :workspace
    """
)


@pytest.fixture
async def db(stack: TestStack) -> AsyncIterator[Database]:
    async with resting(stack) as db:
        yield db


@pytest.fixture
async def wire(stack: TestStack) -> AsyncIterator[Wire]:
    wire = await Wire.connect(stack.nats_operator)
    await wire.clear()
    yield wire
    await wire.nc.close()


def eraser(db: Database, storage: ObjectStorage, wire: Wire) -> WorkspaceEraser:
    return WorkspaceEraser(db, storage, Schedules(lambda: wire.js))


async def test_reading_ends_when_the_workspace_is_erased(
    db: Database, wire: Wire, storage: ObjectStorage, tmp_path: Path
) -> None:
    """The extractor by itself, with a file that is read for ever."""
    parser = IsolatedParser(target="hostile_targets:Hostile", environment={"PYTHONPATH": str(Path(__file__).parent)})
    upload = uploaded(filename="wait")
    await store(storage, upload)
    await registered(db, upload)
    work = ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)
    delivery = delivery_of(work, "ingest-document-extract", db)
    extracting = asyncio.create_task(DocumentExtractor(db, storage, parser, WorkFolder(tmp_path))(work, delivery))
    try:

        async def is_read() -> bool:
            found = await look(db, upload)
            return found is not None and found.status == DocumentStatus.EXTRACTING and bool(parser.host_pid)

        await wait_until(is_read, seconds=SECONDS, what="the file is being read")
        event = deletion(upload.workspace_id)
        await eraser(db, storage, wire)(event, delivery_of(event, "ingest-workspace-deleted", db))
        async with asyncio.timeout(SECONDS):
            await extracting
        told = f"evt.ingest.v1.data.erased.{upload.workspace_id}"
        left = [line for line in await mentions(db, [upload.workspace_id, upload.document_id]) if told not in line]
        assert left == []
        assert await storage.keys(f"{upload.workspace_id}/") == []
    finally:
        extracting.cancel()
        await asyncio.gather(extracting, return_exceptions=True)
        await parser.close()


async def test_erasure_that_is_interrupted_goes_on_and_gives_one_receipt_of_all(
    db: Database, wire: Wire, storage: ObjectStorage, backend: Backend
) -> None:
    uploads = [uploaded(workspace_id=uuid4())]
    uploads += [uploaded(workspace_id=uploads[0].workspace_id) for _ in range(4)]
    for upload in uploads:
        await store(storage, upload)
        await registered(db, upload, status=DocumentStatus.READY)
    event = deletion(uploads[0].workspace_id)
    erase = eraser(db, storage, wire)
    delivery = delivery_of(event, "ingest-workspace-deleted", db)
    await backend.stop_server("storage")
    try:
        with pytest.raises(DependencyUnavailable):
            await erase(event, delivery)
    finally:
        await backend.start_server("storage")
    assert await look(db, uploads[0]) is None
    await erase(event, Delivery(delivery.envelope, 2, delivery.consumer, db))
    again = delivery_of(event, "ingest-workspace-deleted", db)
    await erase(event, again)
    async with db.read() as session:
        said = await session.scalars(select(outbox.c.payload).where(outbox.c.subject == said_under(event)))
        [told] = [DataErased.model_validate(Envelope.model_validate_json(payload).data) for payload in said]
    assert told.removed == {"documents": 5, "versions": 5, "pages": 0, "sources": 0, "objects": 5}


def said_under(event: WorkspaceDeleted) -> str:
    return f"evt.ingest.v1.data.erased.{event.workspace_id}.{event.erasure_id}"


async def test_service_killed_in_the_middle_of_a_large_workspace_erases_the_rest(
    stack: TestStack, db: Database, wire: Wire
) -> None:
    workspace_id = uuid4()
    async with db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(_DOCUMENTS, {"workspace": workspace_id, "many": MANY})
        await transaction.session.execute(_VERSIONS, {"workspace": workspace_id})
        await transaction.session.execute(_PAGES, {"workspace": workspace_id})

    async def left() -> int:
        async with db.read() as session:
            found = await session.scalar(text("SELECT count(*) FROM documents WHERE workspace_id = :id"), {"id": workspace_id})
        return int(found or 0)

    async def in_the_middle() -> bool:
        return 0 < await left() < MANY

    async def done() -> bool:
        return await left() == 0 and bool(await receipts(wire, event))

    event = deletion(workspace_id)
    envelope = envelope_for(event)
    async with process(stack) as service:
        await wire.send(envelope)
        await wait_until(in_the_middle, seconds=120, what="some documents are gone", every=0.01)
        service.send_signal(signal.SIGKILL)
        await service.wait()
    assert 0 < await left() < MANY
    # By itself the server sends it again after 30 seconds.
    await wire.send(envelope)
    async with process(stack):
        await wait_until(done, seconds=240, what="the rest is gone")
    told = await receipt(wire, event)
    assert told.removed == {"documents": MANY, "versions": MANY, "pages": MANY, "sources": 0, "objects": 0}


@contextlib.asynccontextmanager
async def process(stack: TestStack) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as it is run."""
    environment = {**os.environ, **stack.service_environment("ingest"), "DOCUTALK_PROBE_PORT": "0"}
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "docutalk_ingest", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield service
    finally:
        if service.returncode is None:
            service.terminate()
        await service.wait()

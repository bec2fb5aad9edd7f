"""What people do with documents: cancel, retry, rename, many at once; and what they are told of progress meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import (
    BulkAction,
    CancelDocument,
    ChangeDocuments,
    DeleteDocument,
    Document,
    DocumentRemoved,
    DocumentsChanged,
    DocumentStatus,
    ExtractDocument,
    GetDocument,
    GetProgress,
    KnownObjects,
    ObjectsKnown,
    RenameDocument,
    RetryDocument,
    WorkspaceProgress,
)
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_ingest.adapters.tables import batches, documents, renderings
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.use_cases.cancel_document import cancel_document
from docutalk_ingest.use_cases.extract_document import DocumentExtractor
from docutalk_local.testing import TestStack
from sqlalchemy import insert, select, update

from .journey import SECONDS, bury, complete, indexed, send, settled, status_is, timeline, work_for_embed
from .picture_files import locked_pdf
from .world import TEXT, embedding, look, registered, settings, store, uploaded

PROSE = "".join(f"Sentence number {n} says that the ship has not come. " for n in range(6000)).encode()
"""Enough for many batches."""


async def cancel(requests: RequestClient, upload: DocumentUploaded) -> Document:
    request = CancelDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, cancelled_by=uuid4())
    return await requests.ask("rpc.ingest.v1.document.cancel", request, Document)


async def retry(requests: RequestClient, upload: DocumentUploaded, password: str | None = None) -> Document:
    request = RetryDocument(
        workspace_id=upload.workspace_id, document_id=upload.document_id, retried_by=uuid4(), password=password
    )
    return await requests.ask("rpc.ingest.v1.document.retry", request, Document)


async def waiting_batches(db: Database, upload: DocumentUploaded) -> int:
    async with db.read() as session:
        rows = await session.scalars(select(batches.c.batch).where(batches.c.document_id == upload.document_id))
        return len(rows.all())


async def told(wire: Wire, upload: DocumentUploaded, type_: str) -> None:
    """Returns when the document's timeline has an event of that type."""

    async def found() -> bool:
        return type_ in await timeline(wire, upload)

    await wait_until(found, seconds=SECONDS, what=f"{upload.filename} has {type_} in its timeline")


async def sent_to_embed(wire: Wire, upload: DocumentUploaded, attempt: int) -> set[int]:
    """The numbers of the batches of an attempt that are in the queue, once there are any."""

    async def any_there() -> bool:
        return any(work.attempt == attempt for work in await work_for_embed(wire, upload))

    await wait_until(any_there, seconds=SECONDS, what=f"batches of attempt {attempt} are in the queue")
    return {work.batch for work in await work_for_embed(wire, upload) if work.attempt == attempt}


class TestCancel:
    @pytest.mark.parametrize("change", ["cancelled", "deleted", "replaced by a newer version"])
    async def test_reading_ends_with_its_process_when_the_document_is(
        self, stack: TestStack, db: Database, storage: ObjectStorage, tmp_path: Path, change: str
    ) -> None:
        """The extractor by itself, with a file that is read for ever."""
        parser = IsolatedParser(target="hostile_targets:Hostile", environment={"PYTHONPATH": str(Path(__file__).parent)})
        upload = uploaded(filename="wait")
        await store(storage, upload)
        await registered(db, upload)
        work = ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)
        delivery = Delivery(envelope_for(work), 1, "ingest-document-extract", db)
        extracting = asyncio.create_task(DocumentExtractor(db, storage, parser, WorkFolder(tmp_path))(work, delivery))
        try:

            def readers() -> list[psutil.Process]:
                return psutil.Process(parser.host_pid).children() if parser.host_pid else []

            async def is_read() -> bool:
                return bool(readers())

            await wait_until(is_read, seconds=SECONDS, what="the file is being read")
            columns = {
                "cancelled": {"status": DocumentStatus.CANCELLED},
                "deleted": {"deleted_at": datetime.now(UTC)},
                "replaced by a newer version": {"version": 2},
            }[change]
            async with db.transaction(Cause.new()) as transaction:
                statement = update(documents).where(documents.c.document_id == upload.document_id).values(**columns)
                await transaction.session.execute(statement)
            async with asyncio.timeout(SECONDS):
                await extracting

            async def nobody_reads() -> bool:
                return not readers()

            await wait_until(nobody_reads, seconds=20, what="the process that read it has ended")
            assert os.listdir(tmp_path) == []
        finally:
            extracting.cancel()
            await asyncio.gather(extracting, return_exceptions=True)
            await parser.close()

    async def test_document_being_embedded_is_cancelled_with_all_that_waits_and_late_word_changes_nothing(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = await send(wire, storage, PROSE, "ships.txt")
        document = await status_is(db, upload, DocumentStatus.EMBEDDING)
        assert document.chunk_count is not None
        assert await waiting_batches(db, upload) > 3
        cancelled = await cancel(requests, upload)
        assert (cancelled.status, cancelled.attempt) == (DocumentStatus.CANCELLED, 1)
        assert await waiting_batches(db, upload) == 0
        await told(wire, upload, "ingest.document.cancelled.v1")
        await wire.send(envelope_for(indexed(upload, 64, document.chunk_count, batch=0)))
        await settled(wire, "ingest-chunks-indexed")
        await status_is(db, upload, DocumentStatus.CANCELLED)

        retried = await retry(requests, upload)
        assert retried.attempt == 2
        again = await status_is(db, upload, DocumentStatus.EMBEDDING)
        assert again.chunk_count == document.chunk_count
        assert 0 in await sent_to_embed(wire, upload, 2)

    @pytest.mark.parametrize("status", [DocumentStatus.READY, DocumentStatus.FAILED, DocumentStatus.CANCELLED])
    async def test_document_at_its_end_is_not_cancelled_and_the_answer_says_why(
        self, db: Database, requests: RequestClient, status: DocumentStatus
    ) -> None:
        upload = uploaded()
        await registered(db, upload, status=status)
        with pytest.raises(RequestFailed, match=rf"log\.txt is {status}") as caught:
            await cancel(requests, upload)
        assert caught.value.code == "conflict"


class TestRetry:
    async def test_document_that_failed_while_embedding_goes_on_with_what_is_left_and_is_not_read_again(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = await send(wire, storage, PROSE, "ships.txt")
        document = await status_is(db, upload, DocumentStatus.EMBEDDING)
        count = document.chunk_count or 0
        all_batches = await waiting_batches(db, upload)
        await sent_to_embed(wire, upload, 1)
        await wire.send(envelope_for(indexed(upload, 64, count, batch=0)))
        await settled(wire, "ingest-chunks-indexed")
        await bury(wire, upload, "embed-chunks-index")
        await status_is(db, upload, DocumentStatus.FAILED)

        retried = await retry(requests, upload)
        assert (retried.status, retried.attempt, retried.reason, retried.chunks_done) == (DocumentStatus.EMBEDDING, 2, None, 64)

        async def all_left_are_sent() -> bool:
            return await sent_to_embed(wire, upload, 2) == set(range(1, all_batches))

        await wait_until(all_left_are_sent, seconds=SECONDS, what="the batches that are left are in the queue")
        assert (await timeline(wire, upload)).count("ingest.document.extracted.v1") == 1
        await told(wire, upload, "ingest.document.retried.v1")
        await wire.send(envelope_for(complete(upload, count)))
        await status_is(db, upload, DocumentStatus.READY)
        assert await waiting_batches(db, upload) == 0

    async def test_counts_never_go_back_over_a_retry_that_reads_the_file_again(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = await send(wire, storage, PROSE, "ships.txt")
        count = (await status_is(db, upload, DocumentStatus.EMBEDDING)).chunk_count or 0
        await wire.send(envelope_for(indexed(upload, 128, count)))
        await settled(wire, "ingest-chunks-indexed")
        await cancel(requests, upload)
        retried = await retry(requests, upload)
        assert (retried.pages_done, retried.chunks_done) == (1, 128)
        again = await status_is(db, upload, DocumentStatus.EMBEDDING)
        assert (again.pages_done, again.chunks_done) == (1, 128)

    async def test_document_of_which_embed_already_holds_all_is_ready_by_its_word_about_a_batch(
        self, db: Database, wire: Wire
    ) -> None:
        upload = await embedding(db, chunk_count=10)
        await wire.send(envelope_for(indexed(upload, 10, 10, batch=0)))
        ready = await status_is(db, upload, DocumentStatus.READY)
        assert (ready.chunks_done, ready.served_version) == (10, 1)

    @pytest.mark.parametrize("status", [DocumentStatus.READY, DocumentStatus.EXTRACTING])
    async def test_document_that_neither_failed_nor_was_cancelled_is_refused(
        self, db: Database, requests: RequestClient, status: DocumentStatus
    ) -> None:
        upload = uploaded()
        await registered(db, upload, status=status)
        with pytest.raises(RequestFailed, match=rf"log\.txt is {status}") as caught:
            await retry(requests, upload)
        assert caught.value.code == "conflict"

    async def test_encrypted_document_is_read_with_its_password_which_is_then_forgotten(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = await send(wire, storage, locked_pdf("The harbour was quiet.", "salt"), "locked.pdf")
        assert (await status_is(db, upload, DocumentStatus.FAILED)).code == "encrypted"
        await retry(requests, upload, "pepper")
        assert (await status_is(db, upload, DocumentStatus.FAILED)).code == "wrong_password"
        await retry(requests, upload, "salt")
        await status_is(db, upload, DocumentStatus.EMBEDDING)
        async with db.read() as session:
            columns = (documents.c.password, documents.c.unlocked_key)
            row = (await session.execute(select(*columns).where(documents.c.document_id == upload.document_id))).one()
        assert row.password is None
        assert (await storage.stat(row.unlocked_key)).size > 0
        delete = DeleteDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, deleted_by=uuid4())
        await requests.ask("rpc.ingest.v1.document.delete", delete, DocumentRemoved)
        await told(wire, upload, "ingest.document.erased.v1")
        with pytest.raises(NotFound):
            await storage.stat(row.unlocked_key)

    async def test_copy_without_protection_stays_when_a_second_reader_finds_the_document_read(
        self, stack: TestStack, db: Database, storage: ObjectStorage, parser: IsolatedParser, tmp_path: Path
    ) -> None:
        """Work that was taken for lost is handed out again, while its first reader is still about to store what it read."""
        data = locked_pdf("The harbour was quiet.", "salt")
        upload = uploaded(data=data, filename="locked.pdf")
        await store(storage, upload, data)
        await registered(db, upload, password="salt")
        work = ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)

        async def read(through: ObjectStorage) -> None:
            extract = DocumentExtractor(db, through, parser, WorkFolder(tmp_path))
            await extract(work, Delivery(envelope_for(work), 1, "ingest-document-extract", db))

        class Slow(ObjectStorage):
            async def upload_stream(self, key: str, chunks: AsyncIterator[bytes], **options: Any) -> int:
                size = await super().upload_stream(key, chunks, **options)
                await read(storage)
                return size

        slow = Slow(settings(stack))
        try:
            await read(slow)
        finally:
            slow.close()
        assert await status_is(db, upload, DocumentStatus.EMBEDDING)
        async with db.read() as session:
            key = await session.scalar(select(documents.c.unlocked_key).where(documents.c.document_id == upload.document_id))
        assert key is not None
        assert (await storage.stat(key)).size > 0

    async def test_attempt_that_was_given_up_on_does_not_end_the_next_one(self, db: Database, wire: Wire) -> None:
        upload = uploaded()
        await registered(db, upload, status=DocumentStatus.EMBEDDING, chunk_count=3, attempt=2)
        work = ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, attempt=1)
        await bury(wire, upload, "ingest-document-extract", about=work)
        await status_is(db, upload, DocumentStatus.EMBEDDING)


class TestMany:
    async def test_cancelling_by_name_leaves_the_others_and_what_is_at_its_end(
        self, db: Database, requests: RequestClient
    ) -> None:
        workspace = uuid4()
        names = {"a report.pdf": "extracting", "b REPORT.pdf": "embedding", "c report.pdf": "ready", "other.pdf": "embedding"}
        ids: dict[str, UUID] = {}
        for name, status in names.items():
            upload = uploaded(filename=name, workspace_id=workspace)
            await registered(db, upload, status=status)
            ids[name] = upload.document_id
        request = ChangeDocuments(workspace_id=workspace, action=BulkAction.CANCEL, q="report", changed_by=uuid4())
        changed = await requests.ask("rpc.ingest.v1.document.change", request, DocumentsChanged)
        assert set(changed.document_ids) == {ids["a report.pdf"], ids["b REPORT.pdf"]}
        assert (changed.refused, changed.remaining) == ([], 0)
        again = await requests.ask("rpc.ingest.v1.document.change", request, DocumentsChanged)
        assert (again.document_ids, again.remaining) == ([], 0)

    async def test_documents_named_by_id_are_changed_or_refused_one_by_one(self, db: Database, requests: RequestClient) -> None:
        failed, ready, unknown = uploaded(), uploaded(), uuid4()
        workspace = failed.workspace_id
        ready = ready.model_copy(update={"workspace_id": workspace})
        await registered(db, failed, status=DocumentStatus.FAILED)
        await registered(db, ready, status=DocumentStatus.READY)
        request = ChangeDocuments(
            workspace_id=workspace,
            action=BulkAction.RETRY,
            document_ids=[failed.document_id, ready.document_id, unknown],
            changed_by=uuid4(),
        )
        changed = await requests.ask("rpc.ingest.v1.document.change", request, DocumentsChanged)
        assert changed.document_ids == [failed.document_id]
        assert [(refusal.document_id, refusal.code) for refusal in changed.refused] == [
            (ready.document_id, "conflict"),
            (unknown, "not_found"),
        ]

    async def test_five_hundred_are_deleted_at_a_time_and_the_rest_is_counted(
        self, db: Database, requests: RequestClient
    ) -> None:
        workspace = uuid4()
        async with db.transaction(Cause.new()) as transaction:
            connection = await transaction.connection()
            await connection.execute(
                "INSERT INTO documents (document_id, workspace_id, version, filename, content_type, size, sha256, object_key,"
                " status, created_by, created_at) SELECT gen_random_uuid(), $1, 1, 'x.txt', 'text/plain', 1, '', '', 'failed',"
                " gen_random_uuid(), now() FROM generate_series(1, 510)",
                workspace,
            )
        request = ChangeDocuments(
            workspace_id=workspace, action=BulkAction.DELETE, status=DocumentStatus.FAILED, changed_by=uuid4()
        )
        first = await requests.ask("rpc.ingest.v1.document.change", request, DocumentsChanged)
        assert (len(first.document_ids), first.remaining) == (500, 10)
        second = await requests.ask("rpc.ingest.v1.document.change", request, DocumentsChanged)
        assert (len(second.document_ids), second.remaining) == (10, 0)

    async def test_deleting_without_saying_which_is_refused(self, requests: RequestClient) -> None:
        request = ChangeDocuments(workspace_id=uuid4(), action=BulkAction.DELETE, changed_by=uuid4())
        with pytest.raises(RequestFailed) as caught:
            await requests.ask("rpc.ingest.v1.document.change", request, DocumentsChanged)
        assert caught.value.code == "invalid"


class TestRename:
    async def test_new_name_is_told_and_how_the_file_is_read_does_not_change(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = uploaded(data=b"name,age\nAda,36\n", filename="people.csv")
        await registered(db, upload, status=DocumentStatus.FAILED)
        await store(storage, upload, b"name,age\nAda,36\n")
        request = RenameDocument(
            workspace_id=upload.workspace_id, document_id=upload.document_id, filename=" Who\nis who ", renamed_by=uuid4()
        )
        renamed = await requests.ask("rpc.ingest.v1.document.rename", request, Document)
        assert renamed.filename == "Who is who"
        await told(wire, upload, "ingest.document.renamed.v1")
        await retry(requests, upload)
        found = await status_is(db, upload, DocumentStatus.EMBEDDING)
        assert (found.filename, found.content_type) == ("Who is who", "text/csv")

    async def test_name_of_nothing_is_refused(self, db: Database, requests: RequestClient) -> None:
        upload = uploaded()
        await registered(db, upload)
        request = RenameDocument(
            workspace_id=upload.workspace_id, document_id=upload.document_id, filename=" \n", renamed_by=uuid4()
        )
        with pytest.raises(RequestFailed) as caught:
            await requests.ask("rpc.ingest.v1.document.rename", request, Document)
        assert caught.value.code == "invalid"


class TestProgress:
    async def test_workspace_is_counted_by_status_with_the_pages_and_chunks_of_what_is_unfinished(
        self, db: Database, requests: RequestClient
    ) -> None:
        workspace = uuid4()
        states = [
            {"status": "extracting", "page_count": 10, "pages_done": 4},
            {"status": "embedding", "page_count": 3, "pages_done": 3, "chunk_count": 20, "chunks_done": 5},
            {"status": "ready", "page_count": 7, "pages_done": 7, "chunk_count": 9, "chunks_done": 9},
            {"status": "failed"},
        ]
        for columns in states:
            await registered(db, uploaded(workspace_id=workspace), **columns)
        found = await requests.ask("rpc.ingest.v1.progress.get", GetProgress(workspace_id=workspace), WorkspaceProgress)
        assert found.documents == {"extracting": 1, "embedding": 1, "ready": 1, "failed": 1}
        assert (found.pages_done, found.page_count, found.chunks_done, found.chunk_count) == (7, 13, 5, 20)

    async def test_document_that_has_been_measured_has_an_estimate_until_it_is_ready(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = await send(wire, storage, PROSE, "ships.txt")
        count = (await status_is(db, upload, DocumentStatus.EMBEDDING)).chunk_count or 0
        await sent_to_embed(wire, upload, 1)
        await wire.send(envelope_for(indexed(upload, 64, count, batch=0)))
        await settled(wire, "ingest-chunks-indexed")
        get = GetDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)
        half_way = await requests.ask("rpc.ingest.v1.document.get", get, Document)
        assert half_way.eta_seconds is not None
        assert half_way.eta_seconds > 0
        whole = await requests.ask("rpc.ingest.v1.progress.get", GetProgress(workspace_id=upload.workspace_id), WorkspaceProgress)
        assert whole.eta_seconds is not None
        await wire.send(envelope_for(complete(upload, count)))
        await status_is(db, upload, DocumentStatus.READY)
        assert (await requests.ask("rpc.ingest.v1.document.get", get, Document)).eta_seconds is None


class TestErasing:
    async def test_document_with_more_pictures_than_fit_a_message_is_deleted_with_all_of_them(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = uploaded()
        await store(storage, upload)
        await registered(db, upload, status=DocumentStatus.READY)
        place = f"{upload.workspace_id}/{upload.document_id}"
        pictures = [f"{place}/rendered-1-{number}-1000.webp" for number in range(1, 12_001)]
        async with db.transaction(Cause.new()) as transaction:
            about = {"document_id": upload.document_id, "version": 1, "width": 1000, "height": 1400, "content_type": "image/webp"}
            rows = [about | {"object_key": key, "number": number} for number, key in enumerate(pictures, start=1)]
            await transaction.session.execute(insert(renderings), rows)
        for key in (pictures[0], pictures[-1]):
            await store(storage, upload.model_copy(update={"object_key": key}))
        delete = DeleteDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, deleted_by=uuid4())
        await requests.ask("rpc.ingest.v1.document.delete", delete, DocumentRemoved, timeout=20)
        await told(wire, upload, "ingest.document.erased.v1")
        assert await storage.keys(f"{place}/") == []

    async def test_receipt_says_how_many_objects_and_pages_are_gone(
        self, db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
    ) -> None:
        upload = await send(wire, storage, TEXT.encode(), "log.txt")
        await status_is(db, upload, DocumentStatus.EMBEDDING)
        keys = KnownObjects(keys=[upload.object_key, "no/such/key"])
        known = await requests.ask("rpc.ingest.v1.object.known", keys, ObjectsKnown)
        assert known.keys == [upload.object_key]
        delete = DeleteDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, deleted_by=uuid4())
        await requests.ask("rpc.ingest.v1.document.delete", delete, DocumentRemoved)
        await told(wire, upload, "ingest.document.erased.v1")
        assert (await requests.ask("rpc.ingest.v1.object.known", keys, ObjectsKnown)).keys == []
        assert await waiting_batches(db, upload) == 0
        async with db.read() as session:
            row = (
                await session.execute(
                    select(documents.c.erased_pages, documents.c.erased_at).where(documents.c.document_id == upload.document_id)
                )
            ).one()
        assert row.erased_pages == 1
        assert row.erased_at is not None
        assert await look(db, upload) is None


async def test_cancel_in_another_workspace_finds_nothing(db: Database) -> None:
    upload = uploaded()
    await registered(db, upload)
    request = CancelDocument(workspace_id=uuid4(), document_id=upload.document_id, cancelled_by=uuid4())
    with pytest.raises(RequestFailed) as caught:
        await cancel_document(request, Cause.new(), db)
    assert caught.value.code == "not_found"

"""Documents on the real servers: from the upload to ready, failed or deleted. The test plays gateway and embed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.ingest import (
    DeleteDocument,
    Document,
    DocumentList,
    DocumentProgressed,
    DocumentRemoved,
    DocumentStatus,
    GetDocument,
    GetPages,
    ListDocuments,
    PageRef,
    Pages,
)
from docutalk_common.db import Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging import event_log
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.messaging.streams import EVENTS, durable
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_local.testing import Backend

from .journey import SECONDS, bury, complete, indexed, letter, send, settled, status_is, timeline, work_for_embed
from .world import TEXT, docx, embedding, look, paragraph, pdf, registered, store, uploaded


async def test_upload_becomes_pages_and_work_and_is_ready_when_embed_has_stored_it(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    upload = await send(wire, storage, pdf("First page.", "The second page (it has more)."), "report.pdf")
    document = await status_is(db, upload, DocumentStatus.EMBEDDING)
    assert (document.content_type, document.page_count, document.pages_done, document.chunk_count) == ("application/pdf", 2, 2, 2)

    async def handed_over() -> bool:
        return len(await work_for_embed(wire, upload)) == 1

    await wait_until(handed_over, seconds=SECONDS, what="the batch is in the work queue")
    batch = (await work_for_embed(wire, upload))[0]
    assert (batch.batch, batch.batch_count, batch.chunk_count, batch.filename) == (0, 1, 2, "report.pdf")
    assert (batch.source_id, [chunk.gap for chunk in batch.chunks]) == (None, [None, None])
    assert batch.document_created_at == document.created_at
    refs = [PageRef(document_id=upload.document_id, number=chunk.page) for chunk in batch.chunks]
    asked = GetPages(workspace_id=upload.workspace_id, pages=refs)
    pages = (await requests.ask("rpc.ingest.v1.page.get", asked, Pages)).pages
    assert [chunk.text for chunk in batch.chunks] == [
        page.text[chunk.start : chunk.end] for page, chunk in zip(pages, batch.chunks, strict=True)
    ]

    await wire.send(envelope_for(indexed(upload, 1, 2)))
    await wire.send(envelope_for(complete(upload, 2)))
    ready = await status_is(db, upload, DocumentStatus.READY)
    assert (ready.chunks_done, ready.reason) == (2, None)

    async def told() -> bool:
        return "ingest.document.ready.v1" in await timeline(wire, upload)

    await wait_until(told, seconds=SECONDS, what="the timeline ends with ready")
    assert await timeline(wire, upload) == [
        "gateway.document.uploaded.v1",
        "ingest.document.extracted.v1",
        "ingest.document.chunked.v1",
        "embed.document.indexed.v1",
        "ingest.document.ready.v1",
    ]


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200)
BAD_FILES = [
    (b"", "nothing.pdf", "empty"),
    (pdf(*["A page."] * 9)[:900], "half.pdf", "damaged"),
    (JPEG, "photo.pdf", "damaged"),
    (pdf("", ""), "scan.pdf", "no_text"),
    (docx(""), "blank.docx", "no_text"),
    (docx(paragraph("Hello. " * 99))[:400], "torn.docx", "damaged"),
    (b" \n", "blank.txt", "no_text"),
    (b"\x00\x01\x02" * 99, "noise.txt", "unsupported_type"),
]


@pytest.mark.parametrize(("data", "filename", "code"), BAD_FILES, ids=[name for _, name, _ in BAD_FILES])
async def test_bad_file_fails_with_a_reason_that_is_told(
    db: Database, wire: Wire, storage: ObjectStorage, data: bytes, filename: str, code: str
) -> None:
    upload = await send(wire, storage, data, filename)
    failed = await status_is(db, upload, DocumentStatus.FAILED, DocumentStatus.EMBEDDING)
    assert (failed.status, failed.code) == (DocumentStatus.FAILED, code)
    assert failed.reason

    async def told() -> bool:
        return "ingest.document.failed.v1" in await timeline(wire, upload)

    await wait_until(told, seconds=SECONDS, what="the timeline ends with failed")
    assert await wire.dead_letters(durable("ingest-document-extract")) == []


async def test_file_missing_from_the_store_becomes_a_dead_letter_and_a_failed_document(db: Database, wire: Wire) -> None:
    upload = uploaded()
    await wire.send(envelope_for(upload))
    failed = await status_is(db, upload, DocumentStatus.FAILED)
    assert failed.code == "object_missing"
    assert [letter.code for letter in await wire.dead_letters(durable("ingest-document-extract"))] == ["object_missing"]


async def test_document_with_signs_but_no_words_is_ready_without_chunks(db: Database, wire: Wire, storage: ObjectStorage) -> None:
    upload = await send(wire, storage, b"* * *\n", "stars.txt")
    ready = await status_is(db, upload, DocumentStatus.READY)
    assert ready.chunk_count == 0


async def test_counts_never_go_back_and_progress_is_told_once_a_second(db: Database, wire: Wire) -> None:
    upload = await embedding(db, chunk_count=100)
    for done in (10, 60, 30, 60):
        await wire.send(envelope_for(indexed(upload, done, 100)))
    await settled(wire, "ingest-chunks-indexed")
    found = await look(db, upload)
    assert found is not None
    assert found.chunks_done == 60

    async def told() -> list[DocumentProgressed]:
        items = await event_log.read(wire.nc, EVENTS, f"evt.ingest.v1.progress.changed.*.{upload.document_id}")
        return [DocumentProgressed.model_validate(Envelope.model_validate_json(item.data).data) for item in items]

    async def any_told() -> bool:
        return bool(await told())

    await wait_until(any_told, seconds=SECONDS, what="progress is told")
    counts = [event.chunks_done for event in await told()]
    assert counts == sorted(counts)
    assert len(counts) <= 2


async def test_completion_that_overtakes_progress_is_not_undone_by_it(db: Database, wire: Wire) -> None:
    upload = await embedding(db)
    await wire.send(envelope_for(complete(upload, 10)))
    await status_is(db, upload, DocumentStatus.READY)
    await wire.send(envelope_for(indexed(upload, 4, 10)))
    await settled(wire, "ingest-chunks-indexed")
    found = await look(db, upload)
    assert found is not None
    assert (found.status, found.chunks_done) == (DocumentStatus.READY, 10)


async def test_deleted_document_is_gone_everywhere_and_late_events_find_nothing(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    upload = await send(wire, storage, TEXT.encode(), "log.txt")
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    delete = DeleteDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, deleted_by=uuid4())
    await requests.ask("rpc.ingest.v1.document.delete", delete, DocumentRemoved)

    async def object_gone() -> bool:
        try:
            await storage.stat(upload.object_key)
        except NotFound:
            return True
        return False

    await wait_until(object_gone, seconds=SECONDS, what="the bytes are gone")
    await wire.send(envelope_for(complete(upload, 1)))
    await wire.send(envelope_for(upload))
    await settled(wire, "ingest-document-indexed")
    await settled(wire, "ingest-document-uploaded")
    with pytest.raises(NotFound):
        await requests.ask("rpc.ingest.v1.document.delete", delete, DocumentRemoved)
    get = GetDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)
    with pytest.raises(NotFound):
        await requests.ask("rpc.ingest.v1.document.get", get, Document)
    page = GetPages(workspace_id=upload.workspace_id, pages=[PageRef(document_id=upload.document_id, number=1)])
    assert (await requests.ask("rpc.ingest.v1.page.get", page, Pages)).pages == []
    unknown = uuid4()
    listing = ListDocuments(workspace_id=upload.workspace_id, pending_ids=[upload.document_id, unknown])
    listed = await requests.ask("rpc.ingest.v1.document.list", listing, DocumentList)
    assert (listed.items, listed.total, listed.known_ids) == ([], 0, [upload.document_id])


async def test_document_deleted_while_it_waits_is_not_extracted(db: Database, wire: Wire, requests: RequestClient) -> None:
    upload = uploaded()
    await registered(db, upload)
    delete = DeleteDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, deleted_by=uuid4())
    await requests.ask("rpc.ingest.v1.document.delete", delete, DocumentRemoved)
    await wire.send(envelope_for(upload))
    await settled(wire, "ingest-document-extract")
    assert await wire.dead_letters(durable("ingest-document-extract")) == []


async def test_list_filters_orders_and_counts_within_one_workspace(db: Database, requests: RequestClient) -> None:
    workspace = uuid4()
    names = ["Annual_100%_report.pdf", "annual notes.md", "Other.txt"]
    for name in names:
        await registered(db, uploaded(filename=name, workspace_id=workspace), created_at=datetime.now(UTC))
    await registered(db, uploaded(filename="annual of others.pdf"))

    async def listed(**options: object) -> tuple[list[str], int]:
        request = ListDocuments.model_validate({"workspace_id": workspace, **options})
        found = await requests.ask("rpc.ingest.v1.document.list", request, DocumentList)
        return [item.filename for item in found.items], found.total

    assert await listed() == (names[::-1], 3)
    assert await listed(per_page=2, page=2) == (names[:1], 3)
    assert await listed(q="ANNUAL") == ([names[1], names[0]], 2)
    assert await listed(q="100%_") == ([names[0]], 1)
    assert await listed(status="ready") == ([], 0)
    assert await listed(status="queued", q="other") == ([names[2]], 1)


async def test_pages_are_given_in_the_order_asked_in_part_and_by_code_points(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    text = "🚢🚢 Zürich 船 " * 20
    upload = await send(wire, storage, text.encode(), "ships.txt")
    await status_is(db, upload, DocumentStatus.EMBEDDING)

    async def pages(workspace_id: UUID, *refs: PageRef) -> list[tuple[int, str]]:
        found = await requests.ask("rpc.ingest.v1.page.get", GetPages(workspace_id=workspace_id, pages=list(refs)), Pages)
        return [(page.start, page.text) for page in found.pages]

    one = PageRef(document_id=upload.document_id, number=1)
    part = one.model_copy(update={"start": 3, "end": 9})
    tail = one.model_copy(update={"start": 230})
    absent = one.model_copy(update={"number": 2})
    assert await pages(upload.workspace_id, part, absent, one, tail) == [(3, text[3:9]), (0, text), (230, text[230:])]
    assert await pages(uuid4(), one) == []


async def test_page_larger_than_a_message_is_refused_whole_and_given_in_part(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    upload = await send(wire, storage, b"A line of a long book.\n" * 80_000, "book.txt")
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    whole = PageRef(document_id=upload.document_id, number=1)
    with pytest.raises(RequestFailed) as caught:
        await requests.ask("rpc.ingest.v1.page.get", GetPages(workspace_id=upload.workspace_id, pages=[whole]), Pages)
    assert caught.value.code == "too_large"
    part = whole.model_copy(update={"start": 1_000_000, "end": 1_000_023})
    found = await requests.ask("rpc.ingest.v1.page.get", GetPages(workspace_id=upload.workspace_id, pages=[part]), Pages)
    assert len(found.pages[0].text) == 23


async def test_document_whose_chunks_were_given_up_on_fails_and_is_ready_after_a_redrive(db: Database, wire: Wire) -> None:
    upload = await embedding(db)
    await bury(wire, upload, "embed-chunks-index")
    failed = await status_is(db, upload, DocumentStatus.FAILED)
    assert failed.code == "internal"
    assert failed.reason is not None
    assert "no room" in failed.reason
    await wire.send(envelope_for(complete(upload, 10)))
    ready = await status_is(db, upload, DocumentStatus.READY)
    assert (ready.code, ready.reason, ready.chunks_done) == (None, None, 10)


async def test_document_fails_although_the_reason_holds_what_cannot_be_stored(db: Database, wire: Wire) -> None:
    upload = await embedding(db)
    broken = letter(upload, "embed-chunks-index").model_copy(update={"reason": "unexpected byte \x00 found"})
    subject = f"dlq.embed.embed-chunks-index.{upload.workspace_id}.{upload.document_id}"
    await wire.send_raw(subject, broken.model_dump_json().encode())
    failed = await status_is(db, upload, DocumentStatus.FAILED)
    assert failed.reason == "Processing was given up: unexpected byte  found"


@pytest.mark.parametrize("name", ["ingest-chunks-indexed", "embed-document-deleted", "ingest-dead-letter"])
async def test_dead_letter_that_does_not_matter_to_readers_leaves_the_document_alone(db: Database, wire: Wire, name: str) -> None:
    upload = await embedding(db)
    await bury(wire, upload, name)
    await status_is(db, upload, DocumentStatus.EMBEDDING)


async def test_dead_letter_that_comes_after_the_end_changes_nothing(db: Database, wire: Wire) -> None:
    upload = await embedding(db)
    await wire.send(envelope_for(complete(upload, 10)))
    await status_is(db, upload, DocumentStatus.READY)
    await bury(wire, upload, "embed-chunks-index")
    await status_is(db, upload, DocumentStatus.READY)


async def test_upload_while_the_store_is_away_is_processed_when_it_is_back(
    db: Database, wire: Wire, storage: ObjectStorage, backend: Backend
) -> None:
    upload = uploaded()
    await store(storage, upload)
    await backend.stop_server("storage")
    try:
        await wire.send(envelope_for(upload))
        await status_is(db, upload, DocumentStatus.EXTRACTING)
    finally:
        await backend.start_server("storage")
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    assert await wire.dead_letters(durable("ingest-document-extract")) == []

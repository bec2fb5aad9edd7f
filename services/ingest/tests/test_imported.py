"""What becomes of imported documents and sources in the running service: versions are read one after the other, and sources
know what they had collected. The test plays gateway and embed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import (
    CancelDocument,
    Document,
    DocumentStatus,
    ExportedDocument,
    ExportedRecords,
    ExportedVersion,
    ExportRecords,
    GetPages,
    ImportRecords,
    ListVersions,
    PageRef,
    Pages,
    RecordsImported,
    RetryDocument,
    RunStatus,
    SourceKind,
    VersionList,
)
from docutalk_common.db import Database
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.source_repository import Unlinked
from docutalk_ingest.adapters.sources.item import Item
from docutalk_ingest.use_cases.match_imported import match_imported
from docutalk_local.testing import TestStack

from .gateway_stand_in import GatewayStandIn
from .journey import SECONDS, complete, settled, timeline
from .source_world import Sources, collecting, counts
from .web import Page, Web, serving
from .world import look, store, uploaded

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def db(stack: TestStack, gateway: GatewayStandIn) -> AsyncIterator[Database]:
    """The running service's database."""
    async with collecting(stack) as db:
        yield db


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as web:
        yield web


# --- versions


async def imported(
    requests: RequestClient, storage: ObjectStorage, *texts: bytes | None, first: int = 1, by: UUID | None = None
) -> list[DocumentUploaded]:
    """A document with a version for each text, brought in; its versions as uploads. The file of None is gone."""
    workspace_id, document_id = uuid4(), uuid4()
    uploads = [
        uploaded(data=text or b"", workspace_id=workspace_id, version=number).model_copy(
            update={"document_id": document_id, "object_key": f"{workspace_id}/{document_id}/{number}.txt"}
        )
        for number, text in enumerate(texts, first)
    ]
    for upload, text in zip(uploads, texts, strict=True):
        if text is not None:
            await store(storage, upload, text)
    kept = [
        ExportedVersion(
            **upload.model_dump(include={"version", "filename", "content_type", "size", "sha256", "object_key"}),
            created_at=NOON + timedelta(days=upload.version),
        )
        for upload in uploads
    ]
    document = ExportedDocument(document_id=document_id, filename="renamed.txt", created_at=NOON, versions=kept)
    request = ImportRecords(workspace_id=workspace_id, imported_by=by or uuid4(), documents=[document])
    said = await requests.ask("rpc.ingest.v1.workspace.import", request, RecordsImported)
    assert said.documents == 1
    return uploads


async def version_is(db: Database, upload: DocumentUploaded, *wanted: DocumentStatus) -> Document:
    """The document, once this version of it has one of these states."""

    async def reached() -> bool:
        found = await look(db, upload)
        return found is not None and found.version == upload.version and found.status in wanted

    await wait_until(reached, seconds=SECONDS, what=f"version {upload.version} becomes {' or '.join(wanted)}")
    found = await look(db, upload)
    assert found is not None
    return found


async def embedded(db: Database, wire: Wire, upload: DocumentUploaded) -> None:
    """Embed stores all of a version, once it is read."""
    document = await version_is(db, upload, DocumentStatus.EMBEDDING)
    await wire.send(envelope_for(complete(upload, document.chunk_count or 0)))


async def text_of(requests: RequestClient, upload: DocumentUploaded, version: int | None = None) -> list[str]:
    ref = PageRef(document_id=upload.document_id, number=1, version=version)
    found = await requests.ask("rpc.ingest.v1.page.get", GetPages(workspace_id=upload.workspace_id, pages=[ref]), Pages)
    return [page.text for page in found.pages]


async def test_versions_are_read_one_after_the_other_and_the_newest_is_served_in_the_end(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    by = uuid4()
    uploads = await imported(requests, storage, b"The first.", b"The second.", b"The third.", first=4, by=by)
    for place, upload in enumerate(uploads):
        assert (await version_is(db, upload, DocumentStatus.EMBEDDING)).served_version == (upload.version - 1 if place else None)
        await embedded(db, wire, upload)
    ready = await version_is(db, uploads[-1], DocumentStatus.READY)
    assert (ready.served_version, ready.filename, ready.created_at) == (6, "renamed.txt", NOON)
    assert [await text_of(requests, uploads[0], version) for version in (4, 5, 6, None)] == [
        *(["The first."], ["The second."], ["The third."], ["The third."])
    ]
    listing = ListVersions(workspace_id=ready.workspace_id, document_id=ready.document_id)
    listed = await requests.ask("rpc.ingest.v1.version.list", listing, VersionList)
    assert [(item.version, item.created_at, item.created_by, item.page_count) for item in listed.items] == [
        (version, NOON + timedelta(days=version), by, 1) for version in (6, 5, 4)
    ]

    async def told() -> bool:
        return (await timeline(wire, uploads[0])).count("ingest.document.ready.v1") == 3

    await wait_until(told, seconds=SECONDS, what="each version was said to be ready")


async def test_version_that_cannot_be_read_or_has_no_words_does_not_keep_the_next_ones_back(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    uploads = await imported(requests, storage, b"* * *\n", b" \n", None, b"The last.")
    await embedded(db, wire, uploads[3])
    ready = await version_is(db, uploads[3], DocumentStatus.READY)
    assert (ready.served_version, ready.code, ready.attempt) == (4, None, 1)

    async def told() -> bool:
        found = await timeline(wire, uploads[0])
        outcomes = [type_.split(".")[2] for type_ in found if type_.split(".")[2] in {"ready", "failed"}]
        return outcomes == ["ready", "failed", "failed", "ready"]

    await wait_until(told, seconds=SECONDS, what="each version came to an end")


async def test_cancelled_version_stops_the_ones_after_it_until_it_is_tried_again(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first, second = await imported(requests, storage, b"The first.", b"The second.")
    await version_is(db, first, DocumentStatus.EMBEDDING)
    about = {"workspace_id": first.workspace_id, "document_id": first.document_id}
    await requests.ask("rpc.ingest.v1.document.cancel", CancelDocument(**about, cancelled_by=uuid4()), Document)
    await settled(wire, "ingest-document-extract")
    await version_is(db, first, DocumentStatus.CANCELLED)
    await requests.ask("rpc.ingest.v1.document.retry", RetryDocument(**about, retried_by=uuid4()), Document)
    await embedded(db, wire, first)
    await embedded(db, wire, second)
    await version_is(db, second, DocumentStatus.READY)


async def test_upload_in_the_meantime_is_the_newest_version(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first, second = await imported(requests, storage, b"The first.", b"The second.")
    await version_is(db, first, DocumentStatus.EMBEDDING)
    third = second.model_copy(update={"version": 3, "object_key": f"{second.object_key}.3"})
    await store(storage, third, b"The third.")
    await wire.send(envelope_for(third))
    await embedded(db, wire, third)
    assert (await version_is(db, third, DocumentStatus.READY)).served_version == 3


# --- sources


async def carried(sources: Sources, storage: ObjectStorage, source_id: UUID) -> Sources:
    """A source and its documents in another workspace, with their files."""
    asked = ExportRecords(workspace_id=sources.workspace_id)
    records = await sources.requests.ask("rpc.ingest.v1.workspace.export", asked, ExportedRecords)
    elsewhere = Sources(sources.requests, uuid4(), uuid4())
    [source] = [source for source in records.sources if source.source_id == source_id]
    moved = []
    for document in records.documents:
        new_id = uuid4()
        kept = []
        for version in document.versions:
            key = f"{elsewhere.workspace_id}/{new_id}/{version.object_key.rpartition('/')[2]}"
            body = b"".join([part async for part in storage.iterate(version.object_key)])
            await store(storage, uploaded().model_copy(update={"object_key": key}), body)
            kept.append(version.model_copy(update={"object_key": key}))
        moved.append(document.model_copy(update={"document_id": new_id, "source_id": carried_id(source_id), "versions": kept}))
    request = ImportRecords(
        workspace_id=elsewhere.workspace_id,
        imported_by=elsewhere.user,
        sources=[source.model_copy(update={"source_id": carried_id(source_id)})],
        documents=moved,
    )
    await elsewhere.requests.ask("rpc.ingest.v1.workspace.import", request, RecordsImported)
    return elsewhere


def carried_id(source_id: UUID) -> UUID:
    """The id of a source where it was carried to."""
    return UUID(int=source_id.int ^ 1)


async def test_run_of_an_imported_list_makes_no_second_copies_and_sees_what_changed(
    sources: Sources, web: Web, storage: ObjectStorage
) -> None:
    same = web.html("/same", "Tides", "By the moon.<script>var token = 'one'</script>")
    changing = web.html("/changing", "Ports", "Many ships.")
    source, run = await sources.collected(SourceKind.URLS, {"urls": [same, changing]})
    assert counts(run) == (2, 2, 0, 0, 0)
    elsewhere = await carried(sources, storage, source.source_id)
    source_id = carried_id(source.source_id)
    before = {document.origin: document.document_id for document in await elsewhere.documents(source_id)}
    assert set(before) == {same, changing}

    web.html("/same", "Tides", "By the moon.<script>var token = 'another'</script>")
    web.html("/changing", "Ports", "Fewer ships.")
    added = web.html("/added", "Piers", "New.")
    await elsewhere.change(source_id, config={"urls": [same, changing, added]})
    assert counts(await elsewhere.again(source_id)) == (3, 1, 1, 1, 0)
    found = {document.origin: document for document in await elsewhere.documents(source_id)}
    assert {origin: document.document_id for origin, document in found.items() if origin != added} == before
    assert {origin: document.version for origin, document in found.items()} == {same: 1, changing: 2, added: 1}
    assert counts(await elsewhere.again(source_id)) == (3, 0, 0, 3, 0)
    assert len(await elsewhere.documents()) == 3


async def test_imported_document_that_is_gone_from_the_store_is_fetched_again(
    sources: Sources, web: Web, storage: ObjectStorage
) -> None:
    source, _ = await sources.collected(SourceKind.URLS, {"urls": [web.html("/page", "Page", "Text.")]})
    elsewhere = await carried(sources, storage, source.source_id)
    [document] = await elsewhere.documents()
    await storage.delete([document.object_key])
    assert counts(await elsewhere.again(carried_id(source.source_id))) == (1, 0, 1, 0, 0)
    [found] = await elsewhere.documents()
    assert (found.document_id, found.version) == (document.document_id, 2)


@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
async def test_rows_of_an_imported_table_are_known_again_although_they_moved(
    sources: Sources, storage: ObjectStorage, keyed: bool
) -> None:
    more: dict[str, Any] = {"key_column": "id", "title_column": "name"} if keyed else {}
    rows = "id,name,ships\n1,Rotterdam,7\n2,Oslo,3\n3,Riga,4\n3,Riga,4\n"
    source, run = await sources.collected(SourceKind.CSV, {"text": rows, **more})
    assert counts(run) == (4, 4, 0, 0, 0)
    elsewhere = await carried(sources, storage, source.source_id)
    moved = "id,name,ships\n2,Oslo,5\n3,Riga,4\n3,Riga,4\n1,Rotterdam,7\n"
    await elsewhere.change(carried_id(source.source_id), config={"text": moved, **more})
    # A changed row without a key is another row.
    assert counts(await elsewhere.again(carried_id(source.source_id))) == ((4, 0, 1, 3, 0) if keyed else (4, 1, 0, 3, 0))
    assert len(await elsewhere.documents()) == (4 if keyed else 5)
    assert counts(await elsewhere.again(carried_id(source.source_id))) == (4, 0, 0, 4, 0)


RSS = "<?xml version='1.0'?><rss version='2.0'><channel>{entries}</channel></rss>"
ENTRY = (
    "<item><guid isPermaLink='false'>{key}</guid><title>{title}</title><link>{link}</link>"
    "<description>{text}</description></item>"
)


@pytest.mark.parametrize("full_text", [True, False], ids=["pages", "entries"])
async def test_entries_of_an_imported_feed_are_known_again(
    sources: Sources, web: Web, storage: ObjectStorage, full_text: bool
) -> None:
    def feed(*entries: tuple[str, str]) -> Page:
        shown = [
            ENTRY.format(key=f"key of {name}", title=title, link=web.html(f"/{name}", name, f"All of {name}."), text=f"{title}.")
            for name, title in entries
        ]
        return Page(RSS.format(entries="".join(shown)).encode(), "application/rss+xml")

    web.pages["/feed"] = feed(("a", "First"), ("b", "Second"))
    source, run = await sources.collected(SourceKind.FEED, {"url": web.url("/feed"), "full_text": full_text})
    assert counts(run) == (2, 2, 0, 0, 0)
    elsewhere = await carried(sources, storage, source.source_id)
    web.pages["/feed"] = feed(("c", "Third"), ("b", "Second, corrected"), ("a", "First"))
    run = await elsewhere.again(carried_id(source.source_id))
    assert counts(run) == ((3, 1, 0, 2, 0) if full_text else (3, 1, 1, 1, 0))
    assert len(await elsewhere.documents()) == 3


async def test_imported_text_that_is_as_it_was_stays_one_document(sources: Sources, storage: ObjectStorage) -> None:
    source, _ = await sources.collected(SourceKind.TEXT, {"title": "Notes", "text": "Salt is heavy."})
    elsewhere = await carried(sources, storage, source.source_id)
    run = await elsewhere.again(carried_id(source.source_id))
    assert (run.status, counts(run)) == (RunStatus.DONE, (1, 0, 0, 1, 0))
    [document] = await elsewhere.documents()
    assert (document.version, document.source_id) == (1, carried_id(source.source_id))


def item(key: str, *, origin: str = "o", name: str = "n", body: bytes | None = None) -> Item:
    return Item(key, origin, name, body=body, url=None if body else "http://example.org/")


def document(number: int, *, origin: str = "o", name: str = "n", body: bytes = b"") -> Unlinked:
    return Unlinked(UUID(int=number), name, origin, hashlib.sha256(body).hexdigest(), "key", "text/plain")


@pytest.mark.parametrize(
    ("kind", "items", "documents", "expected"),
    [
        # The same bytes go before the place, and twice the same are two.
        (
            SourceKind.CSV,
            [item("a", origin="1", body=b"x"), item("b", origin="2", body=b"x"), item("c", origin="3", body=b"x")],
            [document(1, origin="3", body=b"x"), document(2, origin="1", body=b"x")],
            {"a": 1, "b": 2},
        ),
        # A row's place is not its own.
        (SourceKind.CSV, [item("a", name="Oslo.txt", body=b"x")], [document(1, name="Riga.txt")], {}),
        (SourceKind.CSV, [item("a", origin="2", name="Oslo", body=b"x")], [document(1, origin="1", name="Oslo")], {"a": 1}),
        # Entries without a link of their own share the feed's.
        (
            SourceKind.FEED,
            [item("a", name="A", body=b"x"), item("b", name="B", body=b"y"), item("c", name="C", body=b"z")],
            [document(1, name="A"), document(2, name="B"), document(3, name="D")],
            {"a": 1, "b": 2, "c": 3},
        ),
        (SourceKind.FEED, [item("a", name="A", body=b"x"), item("b", name="B", body=b"y")], [document(1, name="D")], {}),
        (SourceKind.URLS, [item("a", origin="p")], [document(1, origin="p"), document(2, origin="p")], {}),
    ],
)
def test_document_is_only_linked_to_an_item_that_nobody_else_could_be(
    kind: SourceKind, items: Sequence[Item], documents: Sequence[Unlinked], expected: dict[str, int]
) -> None:
    found = match_imported(kind, items, documents)
    assert {key: document.document_id.int for key, document in found.items()} == expected

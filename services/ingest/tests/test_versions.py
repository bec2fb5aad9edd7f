"""New versions of a document: the one before serves until the new one is ready, and old ones go in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import (
    Document,
    DocumentStatus,
    GetPages,
    IndexChunks,
    ListVersions,
    PageRef,
    Pages,
    VersionList,
)
from docutalk_common.db import Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_ingest.app import ingest
from docutalk_local.testing import TestStack

from .journey import SECONDS, complete, indexed, send, settled, status_is, timeline, work_for_embed
from .world import look, registered, settings, store, uploaded

KEPT = 3


@pytest.fixture(scope="module")
async def db(stack: TestStack, parser: IsolatedParser) -> AsyncIterator[Database]:
    """The running service's database; it keeps three versions."""
    async with ingest(settings(stack).model_copy(update={"keep_versions": KEPT}), parser=parser) as db:
        yield db


async def replace(wire: Wire, storage: ObjectStorage, upload: DocumentUploaded, data: bytes) -> DocumentUploaded:
    """The next version of a document, as the gateway leaves it."""
    fresh = uploaded(data=data, filename=upload.filename, workspace_id=upload.workspace_id)
    key = f"{upload.workspace_id}/{upload.document_id}/{uuid4()}.txt"
    newer = fresh.model_copy(update={"document_id": upload.document_id, "version": upload.version + 1, "object_key": key})
    await store(storage, newer, data)
    await wire.send(envelope_for(newer))
    return newer


async def version_is(db: Database, upload: DocumentUploaded, *wanted: DocumentStatus) -> Document:
    """The document, once this version of it has one of these states."""

    async def reached() -> bool:
        found = await look(db, upload)
        return found is not None and found.version == upload.version and found.status in wanted

    await wait_until(reached, seconds=SECONDS, what=f"version {upload.version} becomes {' or '.join(wanted)}")
    found = await look(db, upload)
    assert found is not None
    return found


async def become_ready(db: Database, wire: Wire, upload: DocumentUploaded) -> Document:
    """Embed stores all of a version."""
    embedding = await version_is(db, upload, DocumentStatus.EMBEDDING)
    await wire.send(envelope_for(complete(upload, embedding.chunk_count or 0)))
    return await version_is(db, upload, DocumentStatus.READY)


async def text_of(requests: RequestClient, upload: DocumentUploaded, version: int | None = None) -> list[tuple[int, str]]:
    """Version and text of the first page."""
    ref = PageRef(document_id=upload.document_id, number=1, version=version)
    found = await requests.ask("rpc.ingest.v1.page.get", GetPages(workspace_id=upload.workspace_id, pages=[ref]), Pages)
    return [(page.version, page.text) for page in found.pages]


async def told(wire: Wire, upload: DocumentUploaded, type_: str) -> None:
    async def found() -> bool:
        return type_ in await timeline(wire, upload)

    await wait_until(found, seconds=SECONDS, what=f"{type_} is in the timeline")


async def test_old_version_is_read_until_the_new_one_is_ready_and_on_request_afterwards(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first = await send(wire, storage, b"The first version.", "log.txt")
    await status_is(db, first, DocumentStatus.EMBEDDING)
    assert await text_of(requests, first) == [(1, "The first version.")]
    await become_ready(db, wire, first)
    second = await replace(wire, storage, first, b"The second version.")
    embedding = await version_is(db, second, DocumentStatus.EMBEDDING)
    assert embedding.served_version == 1
    assert await text_of(requests, first) == [(1, "The first version.")]
    assert await text_of(requests, first, 2) == [(2, "The second version.")]
    ready = await become_ready(db, wire, second)
    assert ready.served_version == 2
    assert await text_of(requests, first) == [(2, "The second version.")]
    assert await text_of(requests, first, 1) == [(1, "The first version.")]
    listed = await requests.ask(
        "rpc.ingest.v1.version.list",
        ListVersions(workspace_id=first.workspace_id, document_id=first.document_id),
        VersionList,
    )
    assert [(item.version, item.object_key, item.page_count) for item in listed.items] == [
        (2, second.object_key, 1),
        (1, first.object_key, 1),
    ]
    assert listed.served_version == 2


async def test_new_version_that_fails_leaves_the_old_one_in_service(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first = await send(wire, storage, b"The first version.", "log.txt")
    await become_ready(db, wire, first)
    second = await replace(wire, storage, first, b" \n")
    failed = await version_is(db, second, DocumentStatus.FAILED)
    assert (failed.code, failed.served_version) == ("no_text", 1)
    assert await text_of(requests, first) == [(1, "The first version.")]


async def test_new_version_without_a_word_takes_the_place_of_the_old_one_in_embed_too(
    db: Database, wire: Wire, storage: ObjectStorage
) -> None:
    first = await send(wire, storage, b"The first version.", "log.txt")
    await become_ready(db, wire, first)
    second = await replace(wire, storage, first, b"* * *\n")
    embedding = await version_is(db, second, DocumentStatus.EMBEDDING)
    assert (embedding.chunk_count, embedding.served_version) == (0, 1)
    found: list[IndexChunks] = []

    async def handed_over() -> bool:
        found[:] = [work for work in await work_for_embed(wire, second) if work.version == 2]
        return bool(found)

    await wait_until(handed_over, seconds=SECONDS, what="the batch is in the work queue")
    [work] = found
    assert (work.batch, work.batch_count, work.chunk_count, work.chunks) == (0, 1, 0, [])
    await wire.send(envelope_for(indexed(second, 0, 0, batch=0)))
    ready = await version_is(db, second, DocumentStatus.READY)
    assert ready.served_version == 2


async def test_version_in_the_making_is_given_up_for_a_newer_one(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first = await send(wire, storage, b"The first version.", "log.txt")
    await status_is(db, first, DocumentStatus.EMBEDDING)
    second = await replace(wire, storage, first, b"The second version.")
    await version_is(db, second, DocumentStatus.EMBEDDING)
    await told(wire, first, "ingest.document.cancelled.v1")
    ready = await become_ready(db, wire, second)
    assert ready.served_version == 2


async def test_version_that_embed_completed_before_it_heard_of_a_newer_one_is_served(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first = await send(wire, storage, b"The first version.", "log.txt")
    await status_is(db, first, DocumentStatus.EMBEDDING)
    second = await replace(wire, storage, first, b" \n")
    await version_is(db, second, DocumentStatus.FAILED)
    await wire.send(envelope_for(complete(first, 1)))
    await settled(wire, "ingest-document-indexed")
    found = await version_is(db, second, DocumentStatus.FAILED)
    assert found.served_version == 1
    assert await text_of(requests, first) == [(1, "The first version.")]


async def test_versions_beyond_those_that_are_kept_go_with_their_files_but_not_the_one_that_is_served(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    first = await send(wire, storage, b"The first version.", "log.txt")
    await become_ready(db, wire, first)
    uploads = [first]
    for number in range(2, KEPT + 3):
        uploads.append(await replace(wire, storage, uploads[-1], b" \n" if number < KEPT + 2 else b"The last version."))
        await version_is(db, uploads[-1], DocumentStatus.FAILED, DocumentStatus.EMBEDDING)
    versions = ListVersions(workspace_id=first.workspace_id, document_id=first.document_id)
    listed = await requests.ask("rpc.ingest.v1.version.list", versions, VersionList)
    assert [item.version for item in listed.items] == [5, 4, 3, 1]
    await told(wire, first, "ingest.document.pruned.v1")

    async def file_gone() -> bool:
        try:
            await storage.stat(uploads[1].object_key)
        except NotFound:
            return True
        return False

    await wait_until(file_gone, seconds=SECONDS, what="the file of the pruned version is gone")
    assert (await storage.stat(first.object_key)).size > 0
    await become_ready(db, wire, uploads[-1])
    last = await replace(wire, storage, uploads[-1], b"One more.")
    await version_is(db, last, DocumentStatus.EMBEDDING)
    listed = await requests.ask("rpc.ingest.v1.version.list", versions, VersionList)
    assert [item.version for item in listed.items] == [6, 5, 4]
    assert await text_of(requests, first, 1) == []


async def test_versions_of_a_document_of_another_workspace_are_not_listed(db: Database, requests: RequestClient) -> None:
    upload = uploaded()
    await registered(db, upload)
    with pytest.raises(NotFound):
        await requests.ask(
            "rpc.ingest.v1.version.list", ListVersions(workspace_id=uuid4(), document_id=upload.document_id), VersionList
        )

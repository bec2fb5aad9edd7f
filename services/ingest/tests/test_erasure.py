"""A workspace, or an account, that was deleted: nothing of it is left, and nothing of it comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.gateway import NO_WORKSPACE, DocumentUploaded, UserDeleted
from docutalk_common.contracts.ingest import (
    CollectSource,
    CreateSource,
    DocumentStatus,
    ExtractDocument,
    KnownObjects,
    RenderedPage,
    Schedule,
    SourceKind,
)
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.streams import durable
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.page_repository import PageRepository, StoredPage
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.source_tables import sources
from docutalk_ingest.adapters.tables import documents, versions
from docutalk_ingest.adapters.tombstones import NOBODY
from docutalk_ingest.use_cases.create_source import create_source
from docutalk_ingest.use_cases.find_known_objects import find_known_objects
from docutalk_ingest.use_cases.keep_sources import SourceKeeper
from sqlalchemy import select, update

from .erasure_world import SECONDS, deletion, mentions, receipt, scheduled
from .gateway_stand_in import GatewayStandIn
from .journey import bury, complete, indexed, send, settled, status_is
from .source_world import added
from .world import TEXT, look, registered, store, uploaded


async def planted(db: Database, wire: Wire, storage: ObjectStorage) -> tuple[UUID, list[object]]:
    """A workspace with something in every table and every place, and the signs by which what is left would be found: its ids,
    and a word planted wherever its people can write."""
    word = f"Xanthippe{uuid4().hex}"
    upload = await send(wire, storage, f"# {word}\n\n{TEXT}".encode(), f"{word}.md")
    workspace_id = upload.workspace_id
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    picture = RenderedPage(object_key=f"{workspace_id}/{upload.document_id}/picture", content_type="x", width=1, height=1)
    page = StoredPage(workspace_id, upload.document_id, 1, 1, "", None, upload.object_key, "x")
    deleted = uploaded(workspace_id=workspace_id)
    await registered(db, deleted)
    loose = uploaded(workspace_id=workspace_id)
    for key in (picture.object_key, loose.object_key):
        await store(storage, loose.model_copy(update={"object_key": key}))
    source, _ = await added(
        db,
        SourceKind.TEXT,
        {"title": word, "text": word},
        workspace_id=workspace_id,
        schedule=Schedule(every_seconds=3600),
        # Whole seconds, as every time that is computed: the clock knows no others.
        next_run_at=datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1),
    )
    async with db.transaction(Cause.new(word)) as transaction:
        await transaction.session.execute(
            update(documents).where(documents.c.document_id == deleted.document_id).values(deleted_at=datetime.now(UTC))
        )
        assert await PageRepository(transaction.session).keep_rendering(page, picture)
        # Waits for longer than the test takes.
        work = CollectSource(workspace_id=workspace_id, source_id=source.source_id, run_id=uuid4())
        transaction.emit(work, not_before=datetime.now(UTC) + timedelta(days=1))
    await SourceKeeper(db, Schedules(lambda: wire.js)).set_clock()
    assert await scheduled(wire, workspace_id)
    return workspace_id, [workspace_id, upload.document_id, deleted.document_id, source.source_id, word]


async def test_nothing_of_the_workspace_is_left_and_others_are_as_they_were(
    db: Database, wire: Wire, storage: ObjectStorage
) -> None:
    workspace_id, signs = await planted(db, wire, storage)
    other_id, other_signs = await planted(db, wire, storage)

    async def of_others() -> tuple[int, list[str], list[str]]:
        return len(await mentions(db, other_signs)), await storage.keys(f"{other_id}/"), await scheduled(wire, other_id)

    async def only_what_waits() -> bool:
        return len([line for line in await mentions(db, [other_id]) if line.startswith("outbox:")]) == 1

    await wait_until(only_what_waits, seconds=SECONDS, what="what the other workspace has to tell has left the outbox")
    before = await of_others()
    assert {line.partition(":")[0] for line in await mentions(db, signs)} >= {
        *("documents", "versions", "pages", "units", "batches", "renderings", "sources", "source_runs", "outbox")
    }
    event = deletion(workspace_id)
    await wire.send(envelope_for(event))
    told = await receipt(wire, event)
    assert told.removed == {"documents": 1, "versions": 2, "pages": 1, "sources": 1, "objects": 3}
    assert (told.part, told.parts, told.subjects) == (1, 1, [])
    await wait_until(lambda: _is_forgotten(db, workspace_id), seconds=SECONDS, what="the receipt has left the outbox")
    assert await mentions(db, signs) == []
    assert await storage.keys(f"{workspace_id}/") == []
    assert await scheduled(wire, workspace_id) == []
    assert await of_others() == before


async def _is_forgotten(db: Database, workspace_id: UUID) -> bool:
    return not await mentions(db, [workspace_id])


async def test_what_comes_late_creates_nothing_and_its_object_goes(
    db: Database, wire: Wire, storage: ObjectStorage, gateway: GatewayStandIn
) -> None:
    early = await send(wire, storage, TEXT.encode(), "early.txt")
    await status_is(db, early, DocumentStatus.EMBEDDING)
    source, work = await added(db, SourceKind.TEXT, {"title": "a", "text": "b"}, workspace_id=early.workspace_id)
    event = deletion(early.workspace_id)
    gateway.states[early.workspace_id] = None
    await wire.send(envelope_for(event))
    await receipt(wire, event)

    late = uploaded(workspace_id=early.workspace_id)
    next_version = early.model_copy(update={"version": 2, "object_key": f"{early.object_key}.2"})
    for upload in (late, next_version):
        await store(storage, upload)
        await wire.send(envelope_for(upload))
    about = {"workspace_id": early.workspace_id, "document_id": early.document_id}
    for message in (early, ExtractDocument(**about), indexed(early, 1, 1, batch=0), complete(early, 1), work):
        await wire.send(envelope_for(message))
    for name in ("document-uploaded", "document-extract", "chunks-indexed", "document-indexed", "source-collect"):
        await settled(wire, f"ingest-{name}")
    for name in ("document-uploaded", "document-extract", "source-collect"):
        assert await wire.dead_letters(durable(f"ingest-{name}")) == []
    await bury(wire, late, "ingest-document-uploaded", about=late)
    assert await mentions(db, [early.workspace_id, early.document_id, late.document_id, source.source_id]) == []
    assert await storage.keys(f"{early.workspace_id}/") == []
    request = CreateSource(
        workspace_id=early.workspace_id,
        source_id=uuid4(),
        kind=SourceKind.TEXT,
        name="a",
        config={"title": "a", "text": "b"},
        created_by=uuid4(),
    )
    with pytest.raises(NotFound, match="The workspace was deleted"):
        await create_source(request, Cause.new(), db, lambda: None)
    await receipt(wire, event)


async def test_uploads_that_come_while_the_workspace_is_erased_leave_nothing_and_others_lose_none(
    db: Database, wire: Wire, storage: ObjectStorage
) -> None:
    workspace_id, other_id = uuid4(), uuid4()
    uploads = [uploaded(workspace_id=workspace_id if n % 4 else other_id) for n in range(80)]
    for upload in uploads:
        await store(storage, upload)
    event = deletion(workspace_id)
    for n, upload in enumerate(uploads):
        await wire.send(envelope_for(upload))
        if n == 30:
            await wire.send(envelope_for(event))
    await receipt(wire, event)
    await settled(wire, "ingest-document-uploaded")
    await wait_until(lambda: _is_forgotten(db, workspace_id), seconds=SECONDS, what="the receipt has left the outbox")
    assert await storage.keys(f"{workspace_id}/") == []
    assert len(await storage.keys(f"{other_id}/")) == 20
    assert all([await look(db, upload) for upload in uploads if upload.workspace_id == other_id])


async def test_object_of_an_erased_workspace_is_not_kept_from_the_sweep(db: Database, wire: Wire, storage: ObjectStorage) -> None:
    """A reader that was killed after it had stored something, and before it knew that nobody wants it."""
    upload = await send(wire, storage, TEXT.encode(), "log.txt")
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    keys = KnownObjects(keys=[upload.object_key])
    assert (await find_known_objects(keys, db)).keys == [upload.object_key]
    event = deletion(upload.workspace_id)
    await wire.send(envelope_for(event))
    await receipt(wire, event)
    await store(storage, upload)
    assert (await find_known_objects(keys, db)).keys == []


class TestUser:
    async def test_name_goes_from_what_stays_with_others(self, db: Database, wire: Wire) -> None:
        user, other = uuid4(), uuid4()
        mine, theirs = uploaded().model_copy(update={"uploaded_by": user}), uploaded().model_copy(update={"uploaded_by": other})
        for upload in (mine, theirs):
            await registered(db, upload, cause={"correlation_id": str(uuid4()), "actor": str(upload.uploaded_by)})
        source, _ = await added(db, SourceKind.TEXT, {"title": "a", "text": "b"})
        async with db.transaction(Cause.new()) as transaction:
            await transaction.session.execute(
                update(sources).where(sources.c.source_id == source.source_id).values(created_by=user, deleted_by=user)
            )
        event = UserDeleted(user_id=user, erasure_id=uuid4())
        await wire.send(envelope_for(event))
        told = await receipt(wire, event)
        assert (told.workspace_id, told.removed) == (NO_WORKSPACE, {"sources": 1, "documents": 1, "versions": 1})
        assert await mentions(db, [user], but=()) == []
        document, version = await authors(db, mine)
        assert (document["created_by"], document["cause"]["actor"], version["created_by"]) == (NOBODY, None, NOBODY)
        document, version = await authors(db, theirs)
        assert (document["created_by"], document["cause"]["actor"], version["created_by"]) == (other, str(other), other)

    async def test_what_they_uploaded_is_nobodys_when_it_is_registered_or_read_later(
        self, db: Database, wire: Wire, storage: ObjectStorage
    ) -> None:
        late = [uploaded(filename=f"{n}.txt") for n in range(20)]
        user = late[0].uploaded_by
        late = [upload.model_copy(update={"uploaded_by": user}) for upload in late]
        event = UserDeleted(user_id=user, erasure_id=uuid4())
        await wire.send(envelope_for(event))
        await receipt(wire, event)
        for upload in late:
            await store(storage, upload)
            await wire.send(envelope_for(upload).model_copy(update={"actor": str(user)}))
        for upload in late:
            await status_is(db, upload, DocumentStatus.EMBEDDING)
            document, version = await authors(db, upload)
            assert (document["created_by"], version["created_by"]) == (NOBODY, NOBODY)
        newer = late[0].model_copy(update={"version": 2})
        await wire.send(envelope_for(newer).model_copy(update={"actor": str(user)}))
        await settled(wire, "ingest-document-uploaded")

        async def nothing_said() -> bool:
            return await mentions(db, [user], but=()) == []

        await wait_until(nothing_said, seconds=SECONDS, what="nothing names the user, nor waits to")

    async def test_word_of_work_that_was_ordered_in_their_name_does_not_bring_it_back(
        self, db: Database, wire: Wire, storage: ObjectStorage
    ) -> None:
        upload = uploaded()
        await store(storage, upload)
        await registered(db, upload, cause={"correlation_id": str(uuid4()), "actor": None})
        work = ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id)
        await wire.send(envelope_for(work).model_copy(update={"actor": str(upload.uploaded_by)}))
        await status_is(db, upload, DocumentStatus.EMBEDDING)
        assert (await authors(db, upload))[0]["cause"]["actor"] is None


async def authors(db: Database, upload: DocumentUploaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of the document and of its version."""
    async with db.read() as session:
        found = [
            (await session.execute(select(table).where(table.c.document_id == upload.document_id))).mappings().one()
            for table in (documents, versions)
        ]
    return dict(found[0]), dict(found[1])

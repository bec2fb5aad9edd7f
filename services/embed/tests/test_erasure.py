"""Workspaces and people that are erased: nothing is left, nothing comes back, nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.embed import ChangeSearchSettings, ChangeState, GetSearchSettings, StartChange
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.gateway import NO_WORKSPACE, UserDeleted, WorkspaceDeleted
from docutalk_common.db import Cause, Database, outbox
from docutalk_common.errors import NotFound
from docutalk_common.process import wait_until
from docutalk_common.testing.leftovers import leftovers
from docutalk_embed.adapters import erasure_repository
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.document_repository import DocumentRepository
from docutalk_embed.use_cases.change_search_settings import change_search_settings
from docutalk_embed.use_cases.erase_user import erase_user
from docutalk_embed.use_cases.erase_workspace import DOCUMENTS_AT_ONCE, erase_workspace
from docutalk_embed.use_cases.get_search_settings import get_search_settings
from docutalk_embed.use_cases.start_change import start_change
from sqlalchemy import select, text

from .changing import NEW, OLD, Installation
from .conftest import Indexed

PLANTED = "Zanzibarium"
TOMBSTONES = "erased_workspaces"


async def fill(indexed: Indexed) -> set[UUID]:
    """Documents in every state: live, half stored, deleted; with names, places and settings. Returns their ids."""
    live = await indexed.add([f"{PLANTED} was sold in Paris.", "Pumps of Berlin."], filename=f"{PLANTED}.pdf")
    half, _ = indexed.batches([f"The {PLANTED} of Rome.", "Of Madrid."], size=1)
    await indexed.index(half)
    deleted = await indexed.add([f"No {PLANTED} in Lyon."])
    await indexed.delete(deleted)
    change = ChangeSearchSettings(workspace_id=indexed.workspace_id, semantic_weight=0.25)
    await change_search_settings(change, indexed.db, Cause.new())
    return {live, half.document_id, deleted}


async def erase(indexed: Indexed, event: WorkspaceDeleted | None = None) -> WorkspaceDeleted:
    """Handles `WorkspaceDeleted`."""
    event = event or WorkspaceDeleted(workspace_id=indexed.workspace_id, erasure_id=uuid4())
    await erase_workspace(event, indexed.delivery(event))
    return event


async def receipts(db: Database, erasure_id: UUID) -> list[Envelope]:
    """Those of an erasure that wait to be sent."""
    async with db.read() as session:
        rows = await session.scalars(select(outbox.c.payload).where(outbox.c.subject.endswith(f".{erasure_id}")))
        return [Envelope.model_validate_json(payload) for payload in rows]


async def test_nothing_of_an_erased_workspace_is_left_and_others_are_as_they_were(make_indexed: Callable[[], Indexed]) -> None:
    indexed, other = make_indexed(), make_indexed()
    document_ids = await fill(indexed)
    kept = await fill(other)
    before = [await other.stored(document_id) for document_id in sorted(kept)], await other.counts()
    words = {PLANTED, PLANTED.lower(), indexed.workspace_id, *document_ids}
    assert len(await leftovers(indexed.db, {indexed.workspace_id, *document_ids})) > 8

    event = await erase(indexed)
    [receipt] = await receipts(indexed.db, event.erasure_id)
    assert receipt.data["removed"] == {"chunks": 3, "mentions": 3, "documents": 3}
    async with indexed.db.transaction(Cause.new()) as transaction:
        # The receipt names the workspace; it goes when it is sent.
        await transaction.session.execute(outbox.delete().where(outbox.c.subject == receipt.subject))

    assert ([await other.stored(document_id) for document_id in sorted(kept)], await other.counts()) == before
    assert PLANTED in (await other.search(PLANTED)).passages[0].text
    await erase(other)
    assert await leftovers(indexed.db, words, but=[TOMBSTONES]) == {}
    assert list(await leftovers(indexed.db, [indexed.workspace_id])) == [TOMBSTONES]


async def test_receipt_is_given_once_however_often_the_deletion_comes(indexed: Indexed) -> None:
    await fill(indexed)
    event = await erase(indexed)
    await erase(indexed, event)
    assert len(await receipts(indexed.db, event.erasure_id)) == 1


async def test_late_messages_about_an_erased_workspace_store_nothing(indexed: Indexed) -> None:
    document_ids = await fill(indexed)
    first, second = indexed.batches([f"{PLANTED} at last.", "Pumps."], size=1)
    await erase(indexed)
    for work in (first, second):
        await indexed.index(work)
    for document_id in (*document_ids, first.document_id):
        await indexed.rename(document_id, f"{PLANTED}.pdf")
        await indexed.cancel(document_id)
        await indexed.delete(document_id)
    change = ChangeSearchSettings(workspace_id=indexed.workspace_id, semantic_weight=0.25)
    with pytest.raises(NotFound):
        await change_search_settings(change, indexed.db, Cause.new())
    assert set(await leftovers(indexed.db, [indexed.workspace_id, *document_ids, first.document_id])) <= {TOMBSTONES, "outbox"}
    assert (await get_search_settings(GetSearchSettings(workspace_id=indexed.workspace_id), indexed.db)).is_default


async def test_erasure_waits_for_a_batch_that_is_just_being_stored_and_removes_it(indexed: Indexed) -> None:
    document_id = uuid4()
    async with indexed.db.transaction(Cause.new()) as storing:
        assert await DocumentRepository(storing).lock(document_id, indexed.workspace_id) is not None
        erasing = asyncio.create_task(erase(indexed))
        done, _ = await asyncio.wait([erasing], timeout=0.3)
        assert not done
    await asyncio.wait_for(erasing, 20)
    assert await leftovers(indexed.db, [document_id]) == {}


async def test_batches_that_come_during_the_erasure_store_nothing(indexed: Indexed) -> None:
    document_ids = [work.document_id for work in [indexed.batches([f"Pumps {n}."])[0] for n in range(12)]]
    works = [indexed.batches([f"Pumps {n}."], document_id=document_id)[0] for n, document_id in enumerate(document_ids)]
    await asyncio.gather(*(indexed.index(work) for work in works[:6]), erase(indexed), *(indexed.index(w) for w in works[6:]))
    assert set(await leftovers(indexed.db, [indexed.workspace_id, *document_ids])) <= {TOMBSTONES, "outbox"}
    assert await indexed.counts() == (0, {})


@pytest.mark.parametrize("table", ["documents", "lexemes"])
async def test_erasure_that_was_killed_goes_on_and_tells_of_all_of_it(indexed: Indexed, table: str) -> None:
    document_ids = await fill(indexed)
    event = WorkspaceDeleted(workspace_id=indexed.workspace_id, erasure_id=uuid4())
    keys = {"workspace_id": indexed.workspace_id}
    async with indexed.db.transaction(Cause.new()) as holding:
        await holding.session.execute(text(f"SELECT FROM {table} WHERE workspace_id = :workspace_id FOR UPDATE"), keys)
        erasing = asyncio.create_task(erase(indexed, event))
        await wait_until(lambda: _has_come_to(indexed), seconds=20, what="the erasure waits for the row")
        erasing.cancel()
        await asyncio.gather(erasing, return_exceptions=True)
    assert await receipts(indexed.db, event.erasure_id) == []
    await erase(indexed, event)
    [receipt] = await receipts(indexed.db, event.erasure_id)
    assert receipt.data["removed"] == {"chunks": 3, "mentions": 3, "documents": 3}
    assert set(await leftovers(indexed.db, document_ids)) == set()


async def _has_come_to(indexed: Indexed) -> bool:
    """Whether the chunks are gone and somebody waits for a lock."""
    async with indexed.db.read() as session:
        chunks = await session.scalar(
            text("SELECT count(*) FROM chunks WHERE workspace_id = :workspace_id"), {"workspace_id": indexed.workspace_id}
        )
        # Of rows: the server's own processes wait for other things.
        locks = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('tuple', 'transactionid')"
        return not chunks and bool(await session.scalar(text(locks)))


async def test_workspace_of_more_documents_and_chunks_than_one_step_takes_is_erased_whole(indexed: Indexed) -> None:
    chunks, documents = erasure_repository.CHUNKS_AT_ONCE + 1, DOCUMENTS_AT_ONCE + 1
    keys = {"workspace_id": indexed.workspace_id}
    async with indexed.db.transaction(Cause.new()) as transaction:
        for statement in (
            "INSERT INTO documents (document_id, workspace_id, version)"
            f" SELECT gen_random_uuid(), :workspace_id, 1 FROM generate_series(1, {documents})",
            "INSERT INTO chunks (chunk_id, workspace_id, document_id, version, ordinal, page, start_offset, end_offset, text)"
            " SELECT gen_random_uuid(), workspace_id, document_id, 1, n, 1, 0, 5, 'Pumps'"
            f" FROM (SELECT * FROM documents WHERE workspace_id = :workspace_id LIMIT 1) d, generate_series(1, {chunks}) n",
            "INSERT INTO lexemes SELECT :workspace_id, 'w' || n, 1"
            f" FROM generate_series(1, {erasure_repository.ROWS_AT_ONCE + 1}) n",
        ):
            await transaction.session.execute(text(statement), keys)
    event = await erase(indexed)
    [receipt] = await receipts(indexed.db, event.erasure_id)
    assert receipt.data["removed"] == {"chunks": chunks, "mentions": 0, "documents": documents}
    assert set(await leftovers(indexed.db, [indexed.workspace_id])) == {TOMBSTONES, "outbox"}


async def test_vectors_of_both_models_of_a_change_go_and_the_change_goes_on(
    own_database: Database, batcher: MicroBatcher
) -> None:
    installation = Installation(own_database, batcher)
    await installation.begin()
    await installation.complete()
    other = Indexed(own_database, installation.registry)
    await fill(installation.indexed)
    await fill(other)
    await erase(installation.indexed)
    await installation.fill()
    chunks = await installation.chunks()
    assert len(chunks) == 3
    assert await installation.vectors(OLD) == await installation.vectors(NEW) == chunks
    change = await installation.change()
    assert change.state is ChangeState.COMPLETE
    assert str(installation.indexed.workspace_id) not in str(await leftovers(own_database, [other.workspace_id]))


async def test_name_of_an_erased_person_is_taken_off_what_they_started(own_database: Database, batcher: MicroBatcher) -> None:
    installation = Installation(own_database, batcher)
    await installation.begin()
    user_id, erasure_id = uuid4(), uuid4()
    await start_change(StartChange(to_model=NEW, started_by=user_id), own_database, Cause.new())
    event = UserDeleted(user_id=user_id, erasure_id=erasure_id)
    for _ in range(2):
        await erase_user(event, installation.indexed.delivery(event))
    assert (await installation.change()).started_by is None
    assert await leftovers(own_database, [user_id]) == {}
    [receipt] = await receipts(own_database, erasure_id)
    assert (receipt.workspace_id, receipt.data["removed"]) == (NO_WORKSPACE, {"model_changes": 1})

"""Whose turn it is: work is handed out fairly between workspaces, within windows, once, and again only when it was lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.ingest import DocumentStatus, IndexChunks
from docutalk_common.db import Cause, Database
from docutalk_common.process import wait_until
from docutalk_ingest.adapters.batch_repository import BatchRepository
from docutalk_ingest.adapters.dispatcher import Dispatcher, next_turns
from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.tables import documents
from docutalk_ingest.adapters.version_repository import VersionRepository
from docutalk_ingest.adapters.waiting_lines import HEADS, SETTINGS, Head, WaitingLines
from docutalk_ingest.domain import Window, Windows
from docutalk_local.testing import TestStack
from sqlalchemy import update

from .world import resting, uploaded

MANY = """
INSERT INTO documents (document_id, workspace_id, version, filename, content_type, size, sha256, object_key, status, queued_at,
  created_by, created_at)
SELECT gen_random_uuid(), $1, 1, 'many.txt', 'text/plain', 1, '', '', 'queued', now() - interval '1 hour' + n * interval '1 ms',
  gen_random_uuid(), now()
FROM generate_series(1, $2) n
"""


@pytest.fixture
async def db(stack: TestStack) -> AsyncIterator[Database]:
    async with resting(stack) as db:
        yield db


@contextlib.asynccontextmanager
async def connected(db: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the dispatcher has it."""
    connection = await asyncpg.connect(db.dsn, server_settings={"search_path": "ingest, public", **SETTINGS})
    yield connection
    await connection.close()


@pytest.fixture
async def connection(db: Database) -> AsyncIterator[asyncpg.Connection]:
    async with connected(db) as connection:
        yield connection


async def queued(db: Database, workspace_id: UUID, count: int = 1) -> list[UUID]:
    """Documents that wait, in this order."""
    uploads = [uploaded(workspace_id=workspace_id) for _ in range(count)]
    for upload in uploads:
        async with db.transaction(Cause.new()) as transaction:
            await VersionRepository(transaction.session).register(upload, uploaded_at=datetime.now(UTC))
    return [upload.document_id for upload in uploads]


async def embedding(connection: asyncpg.Connection, workspace_id: UUID, batch_count: int) -> UUID:
    """A document with so many batches that wait."""
    await connection.execute(MANY, workspace_id, 1)
    document_id: UUID = await connection.fetchval(
        "UPDATE documents SET status = 'embedding', chunk_count = $2, batch_count = $2 WHERE workspace_id = $1"
        " RETURNING document_id",
        workspace_id,
        batch_count,
    )
    await connection.execute(
        "INSERT INTO batches (document_id, version, batch, workspace_id, chunk_count, chunks)"
        " SELECT $1, 1, n, $2, 1, '[]' FROM generate_series(0, $3 - 1) n",
        document_id,
        workspace_id,
        batch_count,
    )
    return document_id


async def handed_out(connection: asyncpg.Connection) -> list[Envelope]:
    """The work that was handed out, in order."""
    rows = await connection.fetch("SELECT payload FROM outbox WHERE subject LIKE 'work.%' ORDER BY id")
    return [Envelope.model_validate_json(row["payload"]) for row in rows]


async def turns(connection: asyncpg.Connection) -> list[UUID]:
    """The workspaces that had a turn, in order."""
    return [envelope.workspace_id for envelope in await handed_out(connection)]


async def read(connection: asyncpg.Connection, workspace_id: UUID) -> None:
    """One of the workspace's documents in flight has come to its end."""
    await connection.execute(
        "UPDATE documents SET status = 'ready' WHERE document_id = (SELECT document_id FROM documents WHERE workspace_id = $1"
        " AND status = 'queued' AND released_at IS NOT NULL LIMIT 1)",
        workspace_id,
    )


async def test_single_document_is_next_although_ten_thousand_of_another_workspace_came_first(
    db: Database, connection: asyncpg.Connection
) -> None:
    many, one = uuid4(), uuid4()
    await connection.execute(MANY, many, 10_000)
    dispatcher, lines = Dispatcher(db, Windows()), WaitingLines(connection)
    await dispatcher.hand_out(lines)
    assert await turns(connection) == [many, many]
    await queued(db, one)
    await dispatcher.hand_out(lines)
    assert await turns(connection) == [many, many, one]


async def test_what_ten_thousand_wait_behind_is_found_without_looking_at_them(
    db: Database, connection: asyncpg.Connection
) -> None:
    for _ in range(3):
        await connection.execute(MANY, uuid4(), 3_333)
    plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {HEADS['documents']}"))[0]["Plan"]

    def rows(node: dict[str, Any]) -> float:
        return float(node["Actual Rows"] * node["Actual Loops"]) + sum(rows(part) for part in node.get("Plans", []))

    assert rows(plan) < 100


async def test_workspaces_take_turns_however_much_each_has_waiting(db: Database, connection: asyncpg.Connection) -> None:
    a, b, c = uuid4(), uuid4(), uuid4()
    await connection.execute(MANY, a, 100)
    await queued(db, b, 3)
    await queued(db, c, 3)
    dispatcher, lines = Dispatcher(db, Windows(documents=Window(1, 0))), WaitingLines(connection)
    for _ in range(9):
        await dispatcher.hand_out(lines)
        await read(connection, (await turns(connection))[-1])
    assert await turns(connection) == [a, b, c] * 3


async def test_documents_of_a_workspace_are_read_in_the_order_in_which_they_came(
    db: Database, connection: asyncpg.Connection
) -> None:
    workspace = uuid4()
    ids = await queued(db, workspace, 5)
    await Dispatcher(db, Windows(documents=Window(5, 0))).hand_out(WaitingLines(connection))
    assert [envelope.data["document_id"] for envelope in await handed_out(connection)] == [str(id_) for id_ in ids]


async def test_windows_are_kept_and_the_reserve_is_for_those_who_have_nothing_in_flight(
    db: Database, connection: asyncpg.Connection
) -> None:
    a, b, c, d = (uuid4() for _ in range(4))
    dispatcher, lines = Dispatcher(db, Windows(documents=Window(2, 2))), WaitingLines(connection)
    for workspace in (a, b, c, d):
        await queued(db, workspace, 3)
        await dispatcher.hand_out(lines)
    assert await turns(connection) == [a, a, b, c]
    await read(connection, a)
    await dispatcher.hand_out(lines)
    assert (await turns(connection))[4:] == [d]
    await read(connection, b)
    await read(connection, c)
    assert await dispatcher.hand_out(lines) == 2
    assert (await turns(connection))[5:] == [b, c]


async def test_first_batch_of_a_workspace_goes_express_and_the_others_share_the_window(
    db: Database, connection: asyncpg.Connection
) -> None:
    book, note = uuid4(), uuid4()
    await embedding(connection, book, 50)
    dispatcher, lines = Dispatcher(db, Windows(batches=Window(6, 10))), WaitingLines(connection)
    await dispatcher.hand_out(lines)
    await embedding(connection, note, 1)
    await dispatcher.hand_out(lines)
    work = [(envelope.workspace_id, envelope.type) for envelope in await handed_out(connection)]
    bulk, express = "embed.chunks.index.v1", "embed.chunks.express.v1"
    assert work == [(book, express)] + [(book, bulk)] * 5 + [(note, express)]


async def test_a_batch_of_a_source_that_was_cut_before_gaps_were_kept_is_handed_out(
    db: Database, connection: asyncpg.Connection
) -> None:
    document_id, source_id = await embedding(connection, uuid4(), 1), uuid4()
    await connection.execute("UPDATE documents SET source_id = $2 WHERE document_id = $1", document_id, source_id)
    chunk = {"chunk_id": str(uuid4()), "ordinal": 0, "page": 1, "start": 0, "end": 4, "text": "Text"}
    await connection.execute("UPDATE batches SET chunks = $2 WHERE document_id = $1", document_id, json.dumps([chunk]))
    async with db.transaction(Cause.new()) as transaction:
        waiting = await BatchRepository(transaction.session).release_batch(document_id, 1, 0, express=False)
    assert waiting is not None
    assert isinstance(waiting.message, IndexChunks)
    assert (waiting.message.source_id, [found.gap for found in waiting.message.chunks]) == (source_id, [None])


async def test_batches_of_a_failed_document_wait_for_another_attempt(db: Database, connection: asyncpg.Connection) -> None:
    document_id = await embedding(connection, uuid4(), 3)
    async with db.transaction(Cause.new()) as transaction:
        await DocumentRepository(transaction.session).mark_failed(document_id, 1, "internal", "no room")
    lines = WaitingLines(connection)
    await Dispatcher(db, Windows()).hand_out(lines)
    assert await handed_out(connection) == []
    async with db.transaction(Cause.new()) as transaction:
        retried = await DocumentRepository(transaction.session).retry([document_id], password=None, cause=transaction.cause)
    assert [(document.status, document.attempt) for document in retried] == [(DocumentStatus.EMBEDDING, 2)]
    await Dispatcher(db, Windows()).hand_out(lines)
    assert [envelope.data["attempt"] for envelope in await handed_out(connection)] == [2, 2, 2]


async def test_batch_that_cannot_be_put_into_a_message_ends_its_document_and_not_the_line(
    db: Database, connection: asyncpg.Connection
) -> None:
    workspace = uuid4()
    broken = await embedding(connection, workspace, 2)
    await connection.execute("UPDATE batches SET chunks = '[{}]' WHERE batch = 0")
    await queued(db, workspace)
    dispatcher, lines = Dispatcher(db, Windows()), WaitingLines(connection)
    await dispatcher.hand_out(lines)
    whole = await embedding(connection, uuid4(), 1)
    await dispatcher.hand_out(lines)
    assert str(whole) in {envelope.data["document_id"] for envelope in await handed_out(connection)}
    row = await connection.fetchrow("SELECT status, reason FROM documents WHERE document_id = $1", broken)
    assert row["status"] == "failed"
    assert row["reason"].startswith("Its text could not be handed on")


async def test_two_dispatchers_at_once_hand_nothing_out_twice(db: Database, connection: asyncpg.Connection) -> None:
    await queued(db, uuid4(), 20)
    async with connected(db) as other:
        both = [Dispatcher(db, Windows(documents=Window(20, 0))).hand_out(WaitingLines(one)) for one in (connection, other)]
        await asyncio.gather(*both)
    work = [str(envelope.data["document_id"]) for envelope in await handed_out(connection)]
    assert len(work) == len(set(work)) == 20


async def test_what_led_to_the_upload_is_what_leads_to_the_work(db: Database, connection: asyncpg.Connection) -> None:
    cause = Cause(uuid4(), uuid4(), "somebody")
    async with db.transaction(cause) as transaction:
        await VersionRepository(transaction.session).register(uploaded(), uploaded_at=datetime.now(UTC), cause=cause)
    await Dispatcher(db, Windows()).hand_out(WaitingLines(connection))
    envelope = (await handed_out(connection))[0]
    assert (envelope.correlation_id, envelope.causation_id, envelope.actor) == (
        cause.correlation_id,
        cause.causation_id,
        "somebody",
    )


async def test_work_that_was_lost_is_handed_out_again_and_holds_no_place_until_then(
    db: Database, connection: asyncpg.Connection
) -> None:
    (lost,) = await queued(db, uuid4())
    await connection.execute("UPDATE documents SET status = 'extracting', released_at = now() - interval '2 hours'")
    batched = await embedding(connection, uuid4(), 1)
    await connection.execute("UPDATE batches SET released_at = now() - interval '2 hours'")
    lines = WaitingLines(connection)
    assert await lines.recover(timedelta(hours=3)) == 0
    assert await lines.recover(timedelta(hours=1)) == 2
    await Dispatcher(db, Windows()).hand_out(lines)
    work = {str(envelope.data["document_id"]) for envelope in await handed_out(connection)}
    assert work == {str(lost), str(batched)}


async def test_document_of_which_every_batch_is_done_but_nobody_said_so_is_read_again(
    db: Database, connection: asyncpg.Connection
) -> None:
    document_id = await embedding(connection, uuid4(), 1)
    await connection.execute("DELETE FROM batches")
    async with db.transaction(Cause.new()) as transaction:
        hours_ago = datetime.now(UTC) - timedelta(hours=2)
        await transaction.session.execute(update(documents).values(updated_at=hours_ago))
    assert await WaitingLines(connection).recover(timedelta(hours=1)) == 1
    row = await connection.fetchrow("SELECT status, attempt FROM documents WHERE document_id = $1", document_id)
    assert tuple(row) == ("queued", 2)


async def test_running_dispatcher_is_woken_by_the_commit_that_brings_work(db: Database, connection: asyncpg.Connection) -> None:
    running = asyncio.create_task(Dispatcher(db, Windows()).run())
    try:

        async def at_work() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"))

        await wait_until(at_work, seconds=20, what="the dispatcher has its lock")
        for count in (1, 2):
            await queued(db, uuid4())

            async def released(count: int = count) -> bool:
                return len(await handed_out(connection)) == count

            await wait_until(released, seconds=20, what="the document is handed out", every=0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def head(workspace: UUID, minute: int) -> Head:
    return Head(workspace, datetime(2026, 1, 1, 0, minute, tzinfo=UTC), uuid4(), 0, 0)


def test_turn_goes_to_the_least_in_flight_then_to_the_longest_without_a_turn_then_to_the_oldest() -> None:
    a, b, c, d = (uuid4() for _ in range(4))
    heads = [head(a, 1), head(b, 2), head(c, 3), head(d, 4)]
    chosen = next_turns(heads, {a: 1, b: 0}, {b: 7, c: 3}, Window(10, 0))
    assert [turn.workspace_id for turn in chosen] == [d, c, b]


@pytest.mark.parametrize(
    ("in_flight", "mine", "room"), [(0, 0, True), (1, 1, True), (2, 1, False), (2, 0, True), (3, 0, True), (4, 0, False)]
)
def test_window_of_two_with_a_reserve_of_two(in_flight: int, mine: int, room: bool) -> None:
    assert Window(2, 2).has_room(in_flight, mine) is room

"""The outbox and its relay on real servers: a message exists exactly when its transaction was committed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.db import Cause
from docutalk_common.messaging import event_log
from docutalk_common.messaging.outbox import OutboxRelay
from docutalk_common.process import cancel_all, wait_until
from docutalk_common.testing.playground import BallThrown, CatchBall, Playground, thrown
from docutalk_local.testing import TestStack


@contextlib.asynccontextmanager
async def relaying(playground: Playground, *, relays: int = 1, poll_seconds: float = 1) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(OutboxRelay(playground.db, lambda: playground.js, poll_seconds=poll_seconds).run())
        for _ in range(relays)
    ]
    try:
        yield
        assert not [task for task in tasks if task.done()], "a relay ended"
    finally:
        await cancel_all(tasks)


async def emptied(playground: Playground, seconds: float = 15) -> None:
    async def empty() -> bool:
        return await playground.outbox_count() == 0

    await wait_until(empty, seconds=seconds, what="the outbox is empty")


async def execute(playground: Playground, statement: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(playground.superuser_dsn, server_settings={"search_path": playground.schema})
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


class Unwell(Exception):
    """Ends a transaction."""


async def _emit_and_fail(playground: Playground, ball: BallThrown) -> None:
    async with playground.db.transaction(Cause.new()) as transaction:
        transaction.emit(ball)
        raise Unwell


async def test_rolled_back_transaction_emits_nothing(playground: Playground) -> None:
    ball = thrown()
    async with relaying(playground):
        with pytest.raises(Unwell):
            await _emit_and_fail(playground, ball)
        committed = thrown(workspace=ball.workspace_id)
        await playground.emit(committed)
        await emptied(playground)
    assert await playground.logged(ball.workspace_id) == [committed]


async def test_committed_message_is_published_once_at_once_and_whole(playground: Playground) -> None:
    ball = thrown(5)
    cause = Cause(uuid4(), uuid4(), "user:42")
    async with relaying(playground, relays=2, poll_seconds=60):
        await playground.emit(thrown())  # both relays are up when this is gone
        await emptied(playground)
        async with playground.db.transaction(cause) as transaction:
            message_id = transaction.emit(ball)

        async def arrived() -> bool:
            return bool(await playground.logged(ball.workspace_id))

        # By notification, well before the poll.
        await wait_until(arrived, seconds=20, what="the message is published", every=0.01)
        await emptied(playground)
    (stored,) = await event_log.read(playground.nc, "EVENTS", ball.subject())
    envelope = Envelope.model_validate_json(stored.data)
    assert (envelope.id, envelope.subject, envelope.source) == (message_id, ball.subject(), playground.schema)
    assert (envelope.correlation_id, envelope.causation_id, envelope.actor) == (
        cause.correlation_id,
        cause.causation_id,
        cause.actor,
    )


async def test_thousand_messages_of_many_transactions_are_published_exactly_once(playground: Playground) -> None:
    workspace = uuid4()
    async with relaying(playground, relays=3):
        await asyncio.gather(
            *(playground.emit(*(thrown(start + n, workspace=workspace) for n in range(50))) for start in range(0, 1000, 50))
        )
        await emptied(playground)
    assert sorted(ball.number for ball in await playground.logged(workspace)) == list(range(1000))


async def test_messages_committed_while_nats_is_down_are_published_when_it_is_back(
    playground: Playground, stack: TestStack
) -> None:
    workspace = uuid4()
    async with relaying(playground):
        await stack.backend.stop_server("nats")
        try:
            await playground.emit(*(thrown(n, workspace=workspace) for n in range(300)))
            assert await playground.outbox_count() == 300
        finally:
            await stack.backend.start_server("nats")
        await emptied(playground, seconds=30)
    assert sorted(ball.number for ball in await playground.logged(workspace)) == list(range(300))


async def test_another_relay_takes_over_when_the_connection_of_the_leader_is_killed(playground: Playground) -> None:
    ball = thrown()
    async with relaying(playground, relays=2):
        await playground.emit(ball)
        await emptied(playground)
        killed = await execute(
            playground, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> 0"
        )
        assert killed
        await playground.emit(*(thrown(n, workspace=ball.workspace_id) for n in range(1, 20)))
        await emptied(playground)
    assert sorted(found.number for found in await playground.logged(ball.workspace_id)) == list(range(20))


async def test_relay_works_again_after_postgres_was_restarted(playground: Playground, stack: TestStack) -> None:
    ball = thrown()
    async with relaying(playground):
        await playground.emit(thrown())
        await emptied(playground)
        await stack.backend.stop_server("postgres")
        await stack.backend.start_server("postgres")
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(Exception):
                    await playground.emit(ball)
                    break
        await emptied(playground)
    assert await playground.logged(ball.workspace_id) == [ball]


async def test_crash_between_publishing_and_deleting_publishes_nothing_twice(playground: Playground) -> None:
    ball = thrown()
    await playground.emit(ball)
    rows = await execute(playground, "SELECT * FROM outbox")
    async with relaying(playground):
        await emptied(playground)
        # The crash: the row is still there although its message was published.
        await execute(
            playground,
            "INSERT INTO outbox (message_id, subject, payload) VALUES ($1, $2, $3)",
            rows[0]["message_id"],
            rows[0]["subject"],
            rows[0]["payload"],
        )
        await emptied(playground)
    assert await playground.logged(ball.workspace_id) == [ball]


async def test_full_workspace_waits_in_the_outbox_and_others_go_on(playground: Playground) -> None:
    """More rows than a relay can turn over in a second belong to a workspace whose queue is full."""
    full, other = uuid4(), uuid4()
    subject = CatchBall(workspace_id=full).subject()
    backlog = 5000
    for n in range(1000):  # the cap of the WORK stream for one subject
        await playground.nc.publish(subject, b"{}", reply=playground.nc.new_inbox() if n % 100 == 0 else "")
    await playground.nc.flush()
    connection = await asyncpg.connect(playground.superuser_dsn, server_settings={"search_path": playground.schema})
    await connection.copy_records_to_table(
        "outbox",
        records=[(uuid4(), subject, b"{}") for _ in range(backlog)],
        columns=["message_id", "subject", "payload"],
        schema_name=playground.schema,
    )
    await connection.close()
    ball = thrown(workspace=other)
    async with relaying(playground):
        await playground.emit(CatchBall(workspace_id=other), ball)

        async def others_passed() -> bool:
            return await playground.outbox_count() == backlog

        await wait_until(others_passed, seconds=20, what="the other workspace's messages pass")
        assert await playground.logged(other) == [ball]
        # Room again: the rest follows by itself.
        await playground.js.purge_stream("WORK", subject=subject)

        async def moving() -> bool:
            return await playground.outbox_count() <= backlog - 1000

        await wait_until(moving, seconds=40, what="the full workspace goes on")
    await playground.js.purge_stream("WORK", subject=subject)
    await playground.js.purge_stream("WORK", subject=CatchBall(workspace_id=other).subject())


async def test_row_that_can_never_be_published_keeps_nobody_else_back(playground: Playground) -> None:
    ball = thrown()
    insert = "INSERT INTO outbox (message_id, subject, payload) VALUES ($1, $2, $3)"
    for subject, payload in (("nowhere.at.all", b""), ("evt.with a blank", b""), ("evt.too.large", b"x" * (3 << 20))):
        await execute(playground, insert, uuid4(), subject, payload)
    async with relaying(playground):
        await playground.emit(ball)

        async def passed() -> bool:
            return await playground.outbox_count() == 3

        await wait_until(passed, seconds=20, what="the good message passes")
    assert await playground.logged(ball.workspace_id) == [ball]


async def test_message_with_not_before_is_published_then_and_keeps_its_id(playground: Playground) -> None:
    early, late = thrown(1), thrown(2)
    due = datetime.now(UTC) + timedelta(seconds=5)
    async with relaying(playground):
        async with playground.db.transaction(Cause.new()) as transaction:
            transaction.emit(early)
            message_id = transaction.emit(late, not_before=due)

        async def early_passed() -> bool:
            return await playground.outbox_count() == 1

        await wait_until(early_passed, seconds=20, what="the message without a delay passes", every=0.01)
        assert await playground.logged(early.workspace_id) == [early]
        await emptied(playground)
    (stored,) = await event_log.read(playground.nc, "EVENTS", late.subject())
    assert stored.time >= due
    assert Envelope.model_validate_json(stored.data).id == message_id


async def test_old_inbox_rows_are_removed_and_young_ones_stay(playground: Playground) -> None:
    await execute(
        playground, "INSERT INTO inbox (consumer, message_id, processed_at) VALUES ('a', 'old', now() - interval '40 days')"
    )
    await execute(playground, "INSERT INTO inbox (consumer, message_id) VALUES ('a', 'young')")
    async with relaying(playground):

        async def purged() -> bool:
            return await playground.inbox_count() == 1

        await wait_until(purged, seconds=20, what="the old row is removed")
    assert [row["message_id"] for row in await execute(playground, "SELECT message_id FROM inbox")] == ["young"]

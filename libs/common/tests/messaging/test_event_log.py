"""Reading a stream by filter and sequence on the real server."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from docutalk_common.messaging import event_log
from docutalk_common.testing.playground import BallThrown, Playground, thrown

ANY = "evt.playground.v1.ball.thrown"


async def throw(playground: Playground, count: int) -> list[BallThrown]:
    """That many balls in one workspace, with those of a stranger between them."""
    workspace = uuid4()
    balls = [thrown(n, workspace=workspace) for n in range(count)]
    for ball in balls:
        await playground.send(ball)
        await playground.send(thrown(-1))
    return balls


async def test_messages_of_a_filter_come_in_order_with_sequence_and_time(playground: Playground) -> None:
    balls = await throw(playground, 5)
    found = await event_log.read(playground.nc, "EVENTS", f"{ANY}.{balls[0].workspace_id}.*")
    assert [item.subject for item in found] == [ball.subject() for ball in balls]
    assert [item.sequence for item in found] == sorted({item.sequence for item in found})
    assert all(abs(datetime.now(UTC) - item.time) < timedelta(minutes=1) for item in found)
    one = await event_log.read(playground.nc, "EVENTS", f"evt.*.*.*.*.*.{balls[2].ball_id}")
    assert one == [found[2]]


async def test_pages_join_without_gap_or_overlap(playground: Playground) -> None:
    balls = await throw(playground, 7)
    subject = f"{ANY}.{balls[0].workspace_id}.*"
    whole = await event_log.read(playground.nc, "EVENTS", subject)
    pages: list[event_log.Stored] = []
    while page := await event_log.read(playground.nc, "EVENTS", subject, after=pages[-1].sequence if pages else 0, limit=3):
        assert len(page) <= 3
        pages += page
    assert pages == whole
    assert [item async for item in event_log.read_all(playground.nc, "EVENTS", subject)] == whole


async def test_filter_that_nothing_matches_is_empty(playground: Playground) -> None:
    assert await event_log.read(playground.nc, "EVENTS", f"{ANY}.{uuid4()}.*") == []
    assert [item async for item in event_log.read_all(playground.nc, "EVENTS", f"{ANY}.{uuid4()}.*")] == []


async def test_reading_after_the_end_is_empty(playground: Playground) -> None:
    balls = await throw(playground, 1)
    subject = f"{ANY}.{balls[0].workspace_id}.*"
    (last,) = await event_log.read(playground.nc, "EVENTS", subject)
    assert await event_log.read(playground.nc, "EVENTS", subject, after=last.sequence) == []
    assert await event_log.read(playground.nc, "EVENTS", subject, after=last.sequence + 1_000_000) == []


async def test_more_than_one_batch_is_read_whole(playground: Playground) -> None:
    workspace = uuid4()
    for n in range(1100):
        ball = thrown(n, workspace=workspace)
        await playground.nc.publish(ball.subject(), b"{}")
    await playground.send(thrown(1100, workspace=workspace))
    found = [item async for item in event_log.read_all(playground.nc, "EVENTS", f"{ANY}.{workspace}.*")]
    assert len(found) == 1101


async def test_messages_too_large_for_one_batch_are_read_whole(playground: Playground) -> None:
    workspace = uuid4()
    for n in range(40):
        await playground.js.publish(thrown(n, workspace=workspace).subject(), b"x" * 1_900_000)
    subject = f"{ANY}.{workspace}.*"
    assert len([item async for item in event_log.read_all(playground.nc, "EVENTS", subject)]) == 40
    assert len(await event_log.read(playground.nc, "EVENTS", subject)) == 40
    assert len(await event_log.read(playground.nc, "EVENTS", subject, limit=38)) == 38
    await playground.js.purge_stream("EVENTS", subject=subject)


async def test_reader_that_falls_behind_is_not_cut_off(playground: Playground) -> None:
    workspace = uuid4()
    for n in range(40):
        await playground.js.publish(thrown(n, workspace=workspace).subject(), b"x" * 1_900_000)
    subject = f"{ANY}.{workspace}.*"
    reading = asyncio.ensure_future(event_log.read(playground.nc, "EVENTS", subject))
    # The loop stands still while the server sends: what it has sent waits in its buffer for this client.
    for after in (0.002, 0.01, 0.05):
        asyncio.get_running_loop().call_later(after, time.sleep, 0.2)
    assert len(await reading) == 40
    assert playground.nc.stats["reconnects"] == 0
    await playground.js.purge_stream("EVENTS", subject=subject)

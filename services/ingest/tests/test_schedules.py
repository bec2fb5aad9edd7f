"""When sources run by themselves: times, the message server's clock, and what becomes of firings that are late or too many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.ingest import RunStatus, Schedule, SourceDue, SourceKind
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_common.messaging.streams import SCHEDULES, durable
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.timetable import check_schedule, next_time
from docutalk_ingest.use_cases.keep_sources import SourceKeeper
from docutalk_local.testing import TestStack
from nats.js.errors import NotFoundError

from .gateway_stand_in import GatewayStandIn
from .source_world import SECONDS, Sources, added, collecting, runs_of

TEXT = {"title": "a", "text": "b"}
HOURLY = Schedule(every_seconds=3600)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        ("0 6 * * *", "UTC", "2026-11-20T05:59:59.5+00:00", "2026-11-20T06:00:00+00:00"),
        ("0 6 * * *", "UTC", "2026-11-20T06:00:00+00:00", "2026-11-21T06:00:00+00:00"),
        ("0 6 * * *", "Asia/Tokyo", "2026-11-20T00:00:00+00:00", "2026-11-20T21:00:00+00:00"),
        ("*/15 9-17 * * mon-fri", "Europe/Berlin", "2026-11-20T16:46:00+00:00", "2026-11-23T08:00:00+00:00"),
        ("0 0 29 2 *", "UTC", "2026-11-20T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        # The clock is put forward at 2:00: 2:30 does not come, and is kept at the change.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        # It is put back at 3:00: 2:30 comes twice.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+00:00", "2026-10-25T00:30:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"),
    ],
)
def test_cron_expression_gives_its_next_time_in_its_zone(cron: str, timezone: str, after: str, expected: str) -> None:
    assert next_time(Schedule(cron=cron, timezone=timezone), utc(after)) == utc(expected)


def test_interval_counts_from_the_last_time_and_leaves_out_what_was_missed() -> None:
    last = utc("2026-11-20T06:00:00+00:00")
    assert next_time(HOURLY, last + timedelta(seconds=2.5), last) == last + timedelta(hours=1)
    assert next_time(HOURLY, last + timedelta(hours=7.5), last) == last + timedelta(hours=8)
    assert next_time(HOURLY, last + timedelta(milliseconds=200)) == last + timedelta(hours=1, seconds=1)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(),
        Schedule(cron="* * * * *", every_seconds=60),
        Schedule(every_seconds=59),
        Schedule(every_seconds=10**9),
        Schedule(cron="* * * * * *"),
        Schedule(cron="@hourly"),
        Schedule(cron="61 * * * *"),
        Schedule(cron="r * * * *"),
        Schedule(cron="0 0 31 2 *"),
        Schedule(cron="* * * *"),
        Schedule(cron=f"{'1' * 40}x * * * *"),
        Schedule(cron=f"{','.join('1' * 1000)} * * * *"),
        Schedule(cron="0 6 * * *", timezone="Mars/Olympus"),
        Schedule(cron="0 6 * * *", timezone="../../etc/passwd"),
        Schedule(cron="0 6 * * *", timezone=""),
    ],
)
def test_schedule_that_cannot_be_kept_is_refused_with_a_sentence(schedule: Schedule) -> None:
    with pytest.raises(RequestFailed) as caught:
        check_schedule(schedule)
    assert caught.value.code == "invalid"
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("cron", ["* * * * *", "0 6 * * mon-fri", "*/5 0-23/2 1,15 jan-mar 0", "0 0 * * 7", "0 0 L * *"])
def test_usual_cron_expressions_are_taken(cron: str) -> None:
    check_schedule(Schedule(cron=cron, timezone="Europe/Berlin"))


@pytest.fixture(scope="module")
async def db(stack: TestStack, gateway: GatewayStandIn) -> AsyncIterator[Database]:
    async with collecting(stack) as db:
        yield db


async def set_for(wire: Wire) -> dict[str, datetime]:
    """To what the server's clock is set, by source."""
    info = await wire.js.stream_info(SCHEDULES, subjects_filter="sch.ingest.v1.>")
    found = {}
    for subject in info.state.subjects or {}:
        try:
            message = await wire.js.get_last_msg(SCHEDULES, subject)
        except NotFoundError:  # its time came meanwhile
            continue
        at = (message.headers or {})["Nats-Schedule"].removeprefix("@at ")
        due = SourceDue.model_validate(Envelope.model_validate_json(message.data or b"").data)
        assert due.due_at == utc(at)
        found[str(due.source_id)] = utc(at)
    return found


async def test_source_with_an_interval_runs_again_and_again(sources: Sources) -> None:
    source = await sources.create(SourceKind.TEXT, TEXT, Schedule(every_seconds=1))
    assert source.next_run_at is not None

    async def thrice() -> bool:
        runs = await sources.runs(source.source_id)
        return len([run for run in runs if run.trigger == "schedule" and run.status == RunStatus.DONE]) >= 2

    await wait_until(thrice, seconds=SECONDS, what="the source has run twice by itself")
    paused = await sources.change(source.source_id, paused=True)
    assert (paused.paused, paused.next_run_at) == (True, None)
    await sources.ended(source.source_id)
    resumed = await sources.change(source.source_id, paused=False, schedule=HOURLY)
    assert resumed.next_run_at is not None
    assert resumed.next_run_at > datetime.now(UTC) + timedelta(minutes=59)


async def test_clock_is_set_to_the_next_run_and_set_anew_when_the_schedule_changes(sources: Sources, wire: Wire) -> None:
    source = await sources.create(SourceKind.TEXT, TEXT, HOURLY)
    changed = await sources.change(source.source_id, schedule=Schedule(cron="0 6 1 1 *", timezone="Asia/Tokyo"))
    assert changed.next_run_at is not None
    assert changed.next_run_at.strftime("%m-%d %H:%M") == "12-31 21:00"

    async def agrees() -> bool:
        return (await set_for(wire)).get(str(source.source_id)) == changed.next_run_at

    await wait_until(agrees, seconds=SECONDS, what="the server's clock agrees with the table")


async def test_clock_that_was_not_set_or_was_forgotten_by_the_server_is_set_by_the_next_round(db: Database, wire: Wire) -> None:
    """A crash between the commit and the message; a server that lost its schedules."""
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    source, _ = await added(db, SourceKind.TEXT, TEXT, schedule=HOURLY, next_run_at=at)
    keeper = SourceKeeper(db, Schedules(lambda: wire.js))
    await keeper.set_clock()
    assert (await set_for(wire))[str(source.source_id)] == at
    assert await keeper.set_clock() == 0
    await wire.js.purge_stream(SCHEDULES)
    # An hour and some minutes later: the run should have begun.
    assert await keeper.set_clock(at + timedelta(minutes=3)) >= 1
    assert (await set_for(wire))[str(source.source_id)] == at


async def test_run_that_was_due_while_everything_was_down_is_made_up_for_once(db: Database, wire: Wire) -> None:
    due_at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    source, work = await added(db, SourceKind.TEXT, TEXT, schedule=HOURLY, next_run_at=due_at)
    async with db.transaction(Cause.new()) as transaction:
        await SourceRepository(transaction.session).finish_run(work.run_id, RunStatus.DONE, None)
    await SourceKeeper(db, Schedules(lambda: wire.js)).set_clock()

    async def ran() -> bool:
        return [run.trigger for run in await runs_of(db, source.source_id)] == ["schedule", "created"]

    await wait_until(ran, seconds=SECONDS, what="the run that was missed")

    async def next_set() -> bool:
        at = (await set_for(wire)).get(str(source.source_id))
        return at is not None and timedelta(0) < at - datetime.now(UTC) <= timedelta(hours=1)

    await wait_until(next_set, seconds=SECONDS, what="the clock is set to the next one")


@pytest.mark.parametrize("case", ["overtaken", "paused", "going on", "deleted"])
async def test_firing_that_is_not_wanted_starts_no_run(db: Database, wire: Wire, case: str) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    source, work = await added(db, SourceKind.TEXT, TEXT, schedule=HOURLY, next_run_at=at)
    due = SourceDue(workspace_id=source.workspace_id, source_id=source.source_id, due_at=at)
    async with db.transaction(Cause.new()) as transaction:
        repository = SourceRepository(transaction.session)
        if case != "going on":
            await repository.finish_run(work.run_id, RunStatus.DONE, None)
        if case == "paused":
            await repository.change(source.source_id, paused=True)
        if case == "deleted":
            await repository.remove(source.source_id)
        if case == "overtaken":
            due = due.model_copy(update={"due_at": at - timedelta(hours=1)})
    before = await runs_of(db, source.source_id)
    await Schedules(lambda: wire.js).set(due.workspace_id, due.source_id, due.due_at or at)
    envelope = Envelope(
        type=due.type,
        source="ingest",
        subject=due.subject(),
        workspace_id=due.workspace_id,
        correlation_id=uuid4(),
        data=due.model_dump(mode="json"),
    )
    await wire.js.publish(envelope.subject, envelope.model_dump_json().encode(), stream=SCHEDULES)

    async def handled() -> bool:
        return await wire.settled(durable("ingest-source-due"))

    await wait_until(handled, seconds=SECONDS, what="the firing is handled")
    assert [run.run_id for run in await runs_of(db, source.source_id)] == [run.run_id for run in before]

"""What the gateway says of a workspace, and what a run of its sources does about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from docutalk_common.contracts.gateway import WorkspaceState
from docutalk_common.contracts.ingest import RunStatus, Schedule, SourceKind
from docutalk_common.db import Database
from docutalk_common.errors import TransientError
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.fetcher import Fetcher
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.sources.item import Reach
from docutalk_ingest.adapters.workspaces import Workspaces
from docutalk_ingest.use_cases.collect_source import SourceCollector
from docutalk_ingest.use_cases.keep_sources import SourceKeeper
from docutalk_local.testing import TestStack

from .gateway_stand_in import GatewayStandIn
from .source_world import SECONDS, Sources, added, collecting, counts, runs_of
from .web import Page, Web, serving
from .world import registered, uploaded


@pytest.fixture(scope="module")
async def db(stack: TestStack, gateway: GatewayStandIn) -> AsyncIterator[Database]:
    """The running service's database."""
    async with collecting(stack) as db:
        yield db


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as web:
        yield web


def rows(*numbers: int) -> dict[str, str]:
    return {"text": "id,text\n" + "".join(f"{n},{'x' * 90}\n" for n in numbers), "key_column": "id"}


async def test_run_takes_no_new_items_when_the_workspace_is_full_and_says_so(
    sources: Sources, db: Database, gateway: GatewayStandIn
) -> None:
    for _ in range(2):
        await registered(db, uploaded(workspace_id=sources.workspace_id))
    gateway.states[sources.workspace_id] = WorkspaceState(max_documents=5)
    source, run = await sources.collected(SourceKind.CSV, rows(*range(10)))
    assert (run.status, counts(run)) == (RunStatus.DONE, (10, 3, 0, 0, 0))
    assert run.reason == (
        "This workspace may have 5 documents; 7 items were left out. Delete documents, or ask an administrator for more room."
    )
    assert len(await sources.documents()) == 5

    # What is there already is still looked after.
    run = await sources.again(source.source_id)
    assert counts(run) == (10, 0, 0, 3, 0)
    gateway.states[sources.workspace_id] = WorkspaceState(max_documents=11)
    run = await sources.again(source.source_id)
    assert counts(run) == (10, 6, 0, 3, 0)
    assert "may have 11 documents; 1 item was left out" in (run.reason or "")
    gateway.states[sources.workspace_id] = WorkspaceState()
    run = await sources.again(source.source_id)
    assert (counts(run), run.reason or "") == ((10, 1, 0, 9, 0), "")


async def test_run_takes_no_new_items_when_their_files_would_be_too_large_together(
    sources: Sources, gateway: GatewayStandIn, storage: ObjectStorage
) -> None:
    gateway.states[sources.workspace_id] = WorkspaceState(max_bytes=1100)
    _, run = await sources.collected(SourceKind.CSV, rows(*range(100, 120)))
    (one, *others) = await sources.documents()
    assert run.new == 1100 // one.size == len(others) + 1
    assert run.reason == (
        f"This workspace may hold 1.1 KB of files; {20 - run.new} items were left out."
        " Delete documents, or ask an administrator for more room."
    )
    assert len(await storage.keys(f"{sources.workspace_id}/")) == run.new


async def test_list_is_read_again_as_long_as_something_of_it_was_left_out(
    sources: Sources, web: Web, gateway: GatewayStandIn
) -> None:
    web.pages["/list.csv"] = Page(b"id\n1\n2\n3\n", "text/csv", etag=True)
    gateway.states[sources.workspace_id] = WorkspaceState(max_documents=1)
    source, run = await sources.collected(SourceKind.CSV, {"url": web.url("/list.csv"), "key_column": "id"})
    assert counts(run) == (3, 1, 0, 0, 0)
    gateway.states[sources.workspace_id] = WorkspaceState(max_documents=3)
    assert counts(await sources.again(source.source_id)) == (3, 2, 0, 1, 0)


async def test_pages_that_have_no_room_are_not_fetched(sources: Sources, web: Web, gateway: GatewayStandIn) -> None:
    gateway.states[sources.workspace_id] = WorkspaceState(max_documents=1)
    urls = [web.html(f"/{n}", f"Page {n}", f"text {n}") for n in range(6)]
    _, run = await sources.collected(SourceKind.URLS, {"urls": urls})
    assert counts(run) == (6, 1, 0, 0, 0)
    assert "5 items were left out" in (run.reason or "")
    assert [len(web.asked(f"/{n}")) for n in range(6)] == [1, 1, 0, 0, 0, 0]


async def test_scheduled_run_of_an_archived_workspace_is_not_done_and_says_why(
    db: Database, wire: Wire, gateway: GatewayStandIn
) -> None:
    due_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    config = {"title": "a", "text": "b"}
    source, work = await added(db, SourceKind.TEXT, config, schedule=Schedule(every_seconds=3600), next_run_at=due_at)
    gateway.states[source.workspace_id] = WorkspaceState(archived=True)
    await wire.send(envelope_for(work))

    async def ended() -> bool:
        return [run.status for run in await runs_of(db, source.source_id)][-1] == RunStatus.CANCELLED

    await wait_until(ended, seconds=SECONDS, what="the first run is cancelled")
    await SourceKeeper(db, Schedules(lambda: wire.js)).set_clock()

    async def both() -> bool:
        found = [(run.trigger, run.status) for run in await runs_of(db, source.source_id)]
        return found == [("schedule", RunStatus.CANCELLED), ("created", RunStatus.CANCELLED)]

    await wait_until(both, seconds=SECONDS, what="the scheduled run is cancelled")
    run = (await runs_of(db, source.source_id))[0]
    assert run.reason == "The workspace is archived. Its sources run again when it is no longer."
    assert counts(run) == (0, 0, 0, 0, 0)


async def test_run_ends_when_there_is_no_such_workspace(sources: Sources, gateway: GatewayStandIn) -> None:
    gateway.states[sources.workspace_id] = None
    _, run = await sources.collected(SourceKind.TEXT, {"title": "a", "text": "b"})
    assert (run.status, run.reason) == (RunStatus.CANCELLED, "The workspace was deleted.")
    assert await sources.documents() == []


async def test_run_comes_again_when_the_gateway_does_not_say(
    db: Database, requests: RequestClient, storage: ObjectStorage, gateway: GatewayStandIn
) -> None:
    source, work = await added(db, SourceKind.TEXT, {"title": "a", "text": "b"})
    gateway.unsaid.add(source.workspace_id)
    fetcher = Fetcher()
    collect = SourceCollector(db, storage, Reach(fetcher), Workspaces(requests))
    delivery = Delivery(envelope_for(work), 1, "ingest-source-collect", db)
    with pytest.raises(TransientError, match="did not say whether documents may be added"):
        await collect(work, delivery)
    assert [run.status for run in await runs_of(db, source.source_id)] == [RunStatus.QUEUED]
    gateway.unsaid.clear()
    await collect(work, delivery)
    assert [run.status for run in await runs_of(db, source.source_id)] == [RunStatus.DONE]
    await fetcher.close()

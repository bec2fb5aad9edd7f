"""Live feeds: what is stored, then what comes, each once and in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import nats
import pytest
from docutalk_common.contracts.chat import AnswerStarted, DocumentUncited
from docutalk_common.contracts.embed import DocumentUnindexed, ModelSwitched
from docutalk_common.contracts.envelope import Message, uuid7
from docutalk_common.contracts.ingest import (
    DocumentDeleted,
    DocumentErased,
    DocumentExtracted,
    DocumentProgressed,
    DocumentReady,
    DocumentStatus,
    RunStatus,
    SourceRan,
    SourceRun,
    WorkspaceProgress,
)
from docutalk_common.messaging.streams import EVENTS
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_gateway.adapters.live_feed import BUFFER, follow, last_sequence
from docutalk_gateway.use_cases.follow_events import follow_workspace


@pytest.fixture
async def wire(stack: Any) -> AsyncIterator[Wire]:
    """The operator's connection."""
    nc = await nats.connect(**stack.nats_operator)
    yield Wire(nc, nc.jetstream(timeout=5))
    await nc.close()


async def send(wire: Wire, *messages: Message) -> None:
    """Puts events into the log, as their services would."""
    for message in messages:
        await wire.send(envelope_for(message))


def extracted(workspace: UUID, document: UUID, pages: int = 1) -> DocumentExtracted:
    """An event about a document."""
    return DocumentExtracted(workspace_id=workspace, document_id=document, page_count=pages, characters=10)


async def first(events: AsyncIterator[Any], count: int) -> list[Any]:
    """The first events of a stream."""
    found = []
    async with asyncio.timeout(15):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_timeline_lists_the_steps_without_the_counting(ingest_service: Any, wire: Wire, person: Any) -> None:
    document = uuid7()
    ingest_service.put(person.workspace, document)
    progress = DocumentProgressed(workspace_id=person.workspace, document_id=document, status=DocumentStatus.EXTRACTING)
    ready = DocumentReady(workspace_id=person.workspace, document_id=document, page_count=3, chunk_count=1)
    await send(wire, extracted(person.workspace, document, 3), progress, ready)
    listing = (await person.http.get(f"{person.documents}/{document}/events")).json()
    assert [event["event"] for event in listing["items"]] == ["document.extracted", "document.ready"]
    assert listing["total"] == 2
    assert listing["items"][0]["data"]["page_count"] == 3
    assert listing["items"][0]["sequence"] < listing["items"][1]["sequence"]
    rest = await person.http.get(f"{person.documents}/{document}/events", params={"after": listing["items"][0]["sequence"]})
    assert [event["event"] for event in rest.json()["items"]] == ["document.ready"]


async def test_document_stream_begins_at_the_beginning_and_goes_on_live(
    ingest_service: Any, wire: Wire, person: Any, read_events: Any
) -> None:
    document = uuid7()
    ingest_service.put(person.workspace, document)
    await send(wire, extracted(person.workspace, document))
    async with person.http.stream("GET", f"{person.documents}/{document}/events/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = read_events(response)
        [stored] = await first(events, 1)
        await send(
            wire,
            DocumentProgressed(workspace_id=person.workspace, document_id=document, status=DocumentStatus.CHUNKING),
            extracted(person.workspace, uuid7()),
            DocumentReady(workspace_id=person.workspace, document_id=document, page_count=1, chunk_count=1),
        )
        live = await first(events, 2)
    assert [event.event for event in [stored, *live]] == ["document.extracted", "progress.changed", "document.ready"]
    assert [event.data["sequence"] for event in [stored, *live]] == [event.id for event in [stored, *live]]
    assert {event.data["document_id"] for event in live} == {str(document)}


async def test_stream_goes_on_after_the_last_event_id(ingest_service: Any, wire: Wire, person: Any, read_events: Any) -> None:
    document = uuid7()
    ingest_service.put(person.workspace, document)
    await send(wire, *(extracted(person.workspace, document, pages) for pages in range(5)))
    url = f"{person.documents}/{document}/events/stream"
    async with person.http.stream("GET", url) as response:
        before = await first(read_events(response), 3)
    async with person.http.stream("GET", url, headers={"Last-Event-ID": str(before[-1].id)}) as response:
        after = await first(read_events(response), 2)
    assert [event.data["data"]["page_count"] for event in before + after] == [0, 1, 2, 3, 4]


async def test_workspace_stream_tells_of_now_on_and_of_its_own_documents_only(
    gateway: Any, wire: Wire, person: Any, read_events: Any
) -> None:
    other = await gateway.person()
    await send(wire, extracted(person.workspace, uuid7(), 1))
    async with person.http.stream("GET", f"/api/v1/workspaces/{person.workspace}/events/stream") as response:
        events = read_events(response)
        started = AnswerStarted(workspace_id=person.workspace, answer_id=uuid7(), message_id=uuid7(), session_id=uuid7())
        await send(wire, extracted(other.workspace, uuid7(), 2), started, extracted(person.workspace, uuid7(), 3))
        [event] = await first(events, 1)
    assert event.data["data"]["page_count"] == 3


async def test_workspace_stream_tells_of_sources_too(wire: Wire, person: Any, read_events: Any) -> None:
    source, now = uuid7(), datetime.now(UTC)
    run = SourceRun(run_id=uuid7(), source_id=source, trigger="schedule", status=RunStatus.DONE, new=2, queued_at=now)
    async with person.http.stream("GET", f"/api/v1/workspaces/{person.workspace}/events/stream") as response:
        events = read_events(response)
        await send(wire, SourceRan(workspace_id=person.workspace, source_id=source, run=run))
        [event] = await first(events, 1)
    assert (event.event, event.data["source_id"], event.data["document_id"]) == ("source.ran", str(source), None)
    assert event.data["data"]["run"]["new"] == 2


async def test_workspace_stream_tells_from_when_on_searches_use_another_model(wire: Wire, person: Any, read_events: Any) -> None:
    switched = ModelSwitched(workspace_id=person.workspace, change_id=uuid7(), from_model="minilm", to_model="better")
    async with person.http.stream("GET", f"/api/v1/workspaces/{person.workspace}/events/stream") as response:
        events = read_events(response)
        await send(wire, switched)
        [event] = await first(events, 1)
    assert (event.event, event.data["document_id"], event.data["data"]["to_model"]) == ("model.switched", None, "better")


async def test_deleted_document_keeps_its_timeline_with_the_receipts(ingest_service: Any, wire: Wire, person: Any) -> None:
    about = {"workspace_id": person.workspace, "document_id": uuid7()}
    await send(
        wire,
        DocumentDeleted(**about, object_keys=["secret/place"]),
        DocumentErased(**about, objects=2, pages=9),
        DocumentUnindexed(**about, chunks=27),
        DocumentUncited(**about, citations=3),
    )
    url = f"{person.documents}/{about['document_id']}"
    assert (await person.http.get(url)).status_code == 404
    items = (await person.http.get(f"{url}/events")).json()["items"]
    assert [(item["event"], *list(item["data"].values())[2:]) for item in items] == [
        ("document.deleted", None),
        ("document.erased", 2, 9),
        ("document.unindexed", 27),
        ("document.uncited", 3),
    ]
    assert "secret" not in str(items)


async def test_progress_of_a_workspace_is_told_when_it_changes_and_not_more_often_than_asked_for(
    ingest_service: Any, wire: Wire, person: Any, read_events: Any
) -> None:
    ingest_service.progress = WorkspaceProgress(documents={"embedding": 1}, chunk_count=10, eta_seconds=4.2)
    url = f"/api/v1/workspaces/{person.workspace}/progress"
    told = {
        **{"documents": {"embedding": 1}, "pages_done": 0, "page_count": 0},
        **{"chunks_done": 0, "chunk_count": 10, "eta_seconds": 5},
    }
    assert (await person.http.get(url)).json() == told
    async with person.http.stream("GET", f"{url}/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = read_events(response)
        assert [(event.event, event.data) for event in await first(events, 1)] == [("progress", told)]
        asked, started = ingest_service.progress_asked, time.monotonic()
        # Two changes of the workspace: one that is none in numbers, and one that is.
        await send(wire, *(extracted(person.workspace, uuid7()) for _ in range(100)))

        async def asked_again() -> bool:
            return ingest_service.progress_asked > asked

        await wait_until(asked_again, seconds=10, what="the gateway asked again")
        often = ingest_service.progress_asked - asked
        assert often <= 1 + (time.monotonic() - started), "a hundred events are one question a second"
        ingest_service.progress = WorkspaceProgress(documents={"ready": 1})
        await send(wire, extracted(person.workspace, uuid7()))
        [event] = await first(events, 1)
    assert event.data["documents"] == {"ready": 1}


async def test_progress_while_ingest_is_down_is_refused_and_not_a_silent_stream(person: Any) -> None:
    url = f"/api/v1/workspaces/{person.workspace}/progress"
    assert (await person.http.get(url)).status_code == 503
    assert (await person.http.get(f"{url}/stream")).status_code == 503


async def test_last_event_id_that_was_made_up_does_not_hide_what_comes(wire: Wire, person: Any, read_events: Any) -> None:
    url = f"/api/v1/workspaces/{person.workspace}/events/stream"
    async with person.http.stream("GET", url, headers={"Last-Event-ID": "99999999999"}) as response:
        await send(wire, extracted(person.workspace, uuid7(), 1))
        [event] = await first(read_events(response), 1)
    assert event.data["data"]["page_count"] == 1


@pytest.mark.parametrize("after", [None, 99_999_999_999])
async def test_what_happens_once_a_feed_is_open_is_told_however_late_it_is_read(wire: Wire, after: int | None) -> None:
    workspace = uuid7()
    events = await follow_workspace(wire.nc, workspace, after=after)
    await send(wire, extracted(workspace, uuid7(), 1))
    async with contextlib.aclosing(events), asyncio.timeout(10):
        event = await anext(events)
    assert event.name == "document.extracted"


async def test_stream_of_a_document_that_is_not_there_is_not_found(ingest_service: Any, person: Any) -> None:
    assert (await person.http.get(f"{person.documents}/{uuid7()}/events/stream")).status_code == 404
    assert (await person.http.get(f"{person.documents}/{uuid7()}/events")).status_code == 404


async def test_timeline_after_a_number_that_no_sequence_can_be_is_the_callers_error(person: Any) -> None:
    answer = await person.http.get(f"{person.documents}/{uuid7()}/events", params={"after": 2**64})
    assert answer.status_code == 422


async def test_streams_end_when_the_gateway_stops(gateway_with: Any, read_events: Any) -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = gateway_with()
        gateway = await running.__aenter__()
        person = await gateway.person()
        gateway.clients.pop_all()
        request = person.http.build_request("GET", f"/api/v1/workspaces/{person.workspace}/events/stream")
        response = await person.http.send(request, stream=True)
        stack.push_async_callback(person.http.aclose)
        reading = asyncio.create_task(first(read_events(response), 1))
        started = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(running.__aexit__(None, None, None))
        assert await asyncio.wait_for(reading, 10) == [], "the stream ends in an orderly way"
        await response.aclose()
        await person.http.aclose()
        await stopping
        assert asyncio.get_running_loop().time() - started < 20


async def test_reader_slower_than_the_feed_misses_nothing(stack: Any, wire: Wire) -> None:
    """More events than the buffer holds arrive while the reader does something else: they are read from the log."""
    workspace, document = uuid7(), uuid7()
    count = BUFFER * 3
    subject = f"evt.*.*.*.*.{workspace}.>"
    feed = follow(wire.nc, EVENTS, subject, after=0)
    await send(wire, extracted(workspace, document, 0))
    seen = [await anext(feed)]
    await send(wire, *(extracted(workspace, document, pages) for pages in range(1, count)))
    newest = await last_sequence(wire.nc, EVENTS, subject)
    async with asyncio.timeout(30):
        while seen[-1] is None or seen[-1].sequence < newest:
            seen.append(await anext(feed))
    await feed.aclose()
    sequences = [item.sequence for item in seen if item is not None]
    assert len(sequences) == count
    assert sequences == sorted(set(sequences))


async def test_feed_goes_on_after_the_message_server_was_restarted(
    stack: Any, ingest_service: Any, wire: Wire, person: Any, read_events: Any
) -> None:
    document = uuid7()
    ingest_service.put(person.workspace, document)
    await send(wire, extracted(person.workspace, document, 1))
    async with person.http.stream("GET", f"{person.documents}/{document}/events/stream", timeout=60) as response:
        events = read_events(response)
        [before] = await first(events, 1)
        await stack.backend.kill_server("nats")
        await stack.backend.start_server("nats")

        async def sent() -> bool:
            try:
                await send(wire, extracted(person.workspace, document, 2))
            except Exception:
                return False
            return True

        await wait_until(sent, seconds=20, what="the server takes events again")
        [after] = await first(events, 1)
    assert [before.data["data"]["page_count"], after.data["data"]["page_count"]] == [1, 2]

"""Work that was stopped, tried again, and read again, with its messages in any order."""

from __future__ import annotations

from uuid import uuid4

import pytest

from .conftest import Indexed

TEXTS = [f"Paragraph {number} speaks of pump {number}." for number in range(6)]


async def texts_of(indexed: Indexed, query: str) -> set[str]:
    return {passage.text for passage in (await indexed.search(query)).passages}


async def test_a_cancelled_attempt_leaves_nothing_and_its_late_batches_are_dropped(indexed: Indexed) -> None:
    first, second, third = indexed.batches(TEXTS, size=2)
    await indexed.index(first)
    await indexed.cancel(first.document_id)
    assert await indexed.stored(first.document_id) == []
    for work in (second, third, first):
        await indexed.index(work)
    assert await indexed.stored(first.document_id) == []
    assert len(await indexed.emitted(first.document_id, "chunks")) == 1
    assert await indexed.counts() == (0, {})


async def test_a_cancellation_that_overtakes_every_batch_still_counts(indexed: Indexed) -> None:
    [work] = indexed.batches(TEXTS)
    await indexed.cancel(work.document_id)
    await indexed.index(work)
    assert await indexed.stored(work.document_id) == []


@pytest.mark.parametrize("is_overtaken", [False, True], ids=["before the next attempt", "after the next attempt began"])
async def test_the_attempt_after_a_cancelled_one_is_stored_whole(indexed: Indexed, is_overtaken: bool) -> None:
    first, _ = indexed.batches(TEXTS, size=3)
    again = indexed.batches(TEXTS, document_id=first.document_id, attempt=2, size=3)
    await indexed.index(first)
    if is_overtaken:
        await indexed.index(again[1])
    await indexed.cancel(first.document_id)
    for work in again:
        await indexed.index(work)
    assert len(await indexed.stored(first.document_id)) == 6
    assert await texts_of(indexed, "pump") == set(TEXTS)
    assert len(await indexed.emitted(first.document_id, "document")) == 1


async def test_the_version_before_goes_when_the_next_one_holds_no_words(indexed: Indexed) -> None:
    document_id = await indexed.add(["old pumps"])
    [first] = indexed.batches(["no words"], document_id=document_id, version=2)
    await indexed.index(first.model_copy(update={"chunk_count": 0, "chunks": []}))
    assert await texts_of(indexed, "pumps") == set()
    assert await indexed.stored(document_id) == []
    assert await indexed.counts() == (0, {})
    assert (await indexed.emitted(document_id, "document"))[-1]["version"] == 2


async def test_the_version_before_stays_when_the_next_one_is_cancelled(indexed: Indexed) -> None:
    document_id = await indexed.add(["old pumps"])
    half, rest = indexed.batches(["new pumps", "new valves"], document_id=document_id, version=2, size=1)
    await indexed.index(half)
    await indexed.cancel(document_id, version=2)
    await indexed.index(rest)
    assert await texts_of(indexed, "pumps") == {"old pumps"}
    assert len(await indexed.stored(document_id)) == 1


async def test_a_version_that_was_whole_before_its_cancellation_came_stays(indexed: Indexed) -> None:
    document_id = await indexed.add(["quick pumps"])
    await indexed.cancel(document_id)
    assert await texts_of(indexed, "pumps") == {"quick pumps"}


async def test_an_attempt_that_goes_on_finds_what_the_one_before_it_stored(indexed: Indexed) -> None:
    first, *_ = indexed.batches(TEXTS, size=2)
    await indexed.index(first)
    for work in indexed.batches(TEXTS, document_id=first.document_id, attempt=2, size=2)[1:]:
        await indexed.index(work)
    assert await texts_of(indexed, "pump") == set(TEXTS)


async def test_an_attempt_that_cut_the_text_otherwise_replaces_what_was_stored(indexed: Indexed) -> None:
    document_id = await indexed.add(["pumps as they were read first", "and valves"])
    late, _ = indexed.batches(["pumps as they were read first", "and valves"], document_id=document_id, size=1)
    [again] = indexed.batches(["pumps as they were read again"], document_id=document_id, attempt=2)
    await indexed.index(again)
    await indexed.index(late)
    assert await texts_of(indexed, "pumps valves") == {"pumps as they were read again"}
    assert (await indexed.counts())[0] == 1


async def test_ingest_is_told_once_more_by_an_attempt_that_finds_everything_stored(indexed: Indexed) -> None:
    batches = indexed.batches(TEXTS, size=2)
    for work in batches:
        await indexed.index(work)
    for work in indexed.batches(TEXTS, document_id=batches[0].document_id, attempt=2, size=2):
        await indexed.index(work)
    assert [event["chunk_count"] for event in await indexed.emitted(batches[0].document_id, "document")] == [6, 6]
    assert len(await indexed.stored(batches[0].document_id)) == 6


async def test_a_later_version_begins_again_at_its_first_attempt(indexed: Indexed) -> None:
    document_id = uuid4()
    await indexed.cancel(document_id, attempt=4)
    [old] = indexed.batches(["old pumps"], document_id=document_id, attempt=5)
    [new] = indexed.batches(["new pumps", "new valves"], document_id=document_id, version=2)
    await indexed.index(old)
    await indexed.index(new)
    assert await texts_of(indexed, "pumps valves") == {"new pumps", "new valves"}

"""Storing batches: in any order, more than once, at the same time, after deletion, for a later version."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import pytest
from docutalk_common.messaging.consumer import AlreadyHandled
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.domain import UnstorableText
from docutalk_embed.use_cases.index_chunks import index_chunks
from sqlalchemy import text

from .conftest import Indexed

TEXTS = [f"Paragraph {number} speaks of pump {number} and of valves." for number in range(10)]


async def test_chunks_are_stored_as_they_were_sent(indexed: Indexed) -> None:
    [work] = indexed.batches(TEXTS)
    await indexed.index(work)
    stored = await indexed.stored(work.document_id)
    assert [row[:7] for row in stored] == [
        (chunk.chunk_id, 1, chunk.ordinal, chunk.page, chunk.start, chunk.end, chunk.text) for chunk in work.chunks
    ]
    assert all(row[8] for row in stored)


async def test_every_batch_says_its_progress_and_the_last_one_that_the_document_is_indexed(indexed: Indexed) -> None:
    batches = indexed.batches(TEXTS, size=4)
    random.Random(3).shuffle(batches)
    for work in batches:
        await indexed.index(work)
    document_id = batches[0].document_id
    progress = await indexed.emitted(document_id, "chunks")
    sizes = [len(work.chunks) for work in batches]
    assert [event["chunks_done"] for event in progress] == [sum(sizes[: count + 1]) for count in range(3)]
    assert {event["chunk_count"] for event in progress} == {10}
    [done] = await indexed.emitted(document_id, "document")
    assert done["chunk_count"] == 10


async def test_a_batch_sent_twice_leaves_the_same_chunks_and_events(indexed: Indexed) -> None:
    batches = indexed.batches(TEXTS, size=4)
    for work in batches:
        await indexed.index(work)
    before, counts = await indexed.stored(batches[0].document_id), await indexed.counts()
    for work in reversed(batches):
        await indexed.index(work)
    assert await indexed.stored(batches[0].document_id) == before
    assert await indexed.counts() == counts
    assert len(await indexed.emitted(batches[0].document_id, "document")) == 1


async def test_every_batch_is_told_by_its_number_also_when_it_was_stored_already(indexed: Indexed, engine: MiniLM) -> None:
    batches = indexed.batches(TEXTS, size=4)
    for work in batches:
        await indexed.index(work)
    # Nobody serves this queue: what is stored is not computed again.
    await asyncio.wait_for(index_chunks(batches[1], indexed.delivery(batches[1]), ModelRegistry(MicroBatcher(engine))), 10)
    progress = await indexed.emitted(batches[0].document_id, "chunks")
    assert [(event["batch"], event["chunks_done"]) for event in progress] == [(0, 4), (1, 8), (2, 10), (1, 10)]


async def test_a_redelivered_message_is_recognised_by_the_inbox(indexed: Indexed) -> None:
    [work] = indexed.batches(TEXTS[:2])
    delivery = indexed.delivery(work)
    await index_chunks(work, delivery, indexed.registry)
    before = await indexed.stored(work.document_id)
    with pytest.raises(AlreadyHandled):
        await index_chunks(work, delivery, indexed.registry)
    assert await indexed.stored(work.document_id) == before


async def test_batches_stored_at_once_complete_the_document_exactly_once(indexed: Indexed) -> None:
    batches = [work for number in range(5) for work in indexed.batches([f"{text} {number}" for text in TEXTS], size=1)]
    random.Random(5).shuffle(batches)
    await asyncio.gather(*(indexed.index(work) for work in batches))
    for document_id in {work.document_id for work in batches}:
        assert len(await indexed.emitted(document_id, "document")) == 1
        assert len(await indexed.stored(document_id)) == 10
    chunks, words = await indexed.counts()
    assert chunks == words["pump"] == words["valv"] == 50


async def test_a_document_is_found_only_when_it_is_whole(indexed: Indexed) -> None:
    first, second = indexed.batches(TEXTS, size=5)
    await indexed.index(first)
    assert (await indexed.search("pump")).passages == []
    await indexed.index(second)
    assert len((await indexed.search("pump")).passages) == 10


async def test_a_later_version_takes_over_when_it_is_whole(indexed: Indexed) -> None:
    document_id = await indexed.add(["old pumps", "old valves"])
    first, second = indexed.batches(["new pumps", "new valves"], document_id=document_id, version=2, size=1)
    await indexed.index(first)
    assert {passage.text for passage in (await indexed.search("pumps valves")).passages} == {"old pumps", "old valves"}
    await indexed.index(second)
    assert {passage.text for passage in (await indexed.search("pumps valves")).passages} == {"new pumps", "new valves"}
    assert [row[1] for row in await indexed.stored(document_id)] == [2, 2]
    assert await indexed.counts() == (2, {"new": 2, "pump": 1, "valv": 1})
    assert [event["version"] for event in await indexed.emitted(document_id, "document")] == [1, 2]


async def test_batches_of_an_earlier_version_are_ignored(indexed: Indexed) -> None:
    document_id = await indexed.add(["old pumps"])
    half, _ = indexed.batches(["half done", "never comes"], document_id=document_id, version=2, size=1)
    await indexed.index(half)
    [newest] = indexed.batches(["newest pumps"], document_id=document_id, version=3)
    await indexed.index(newest)
    await indexed.index(half)
    assert [row[6] for row in await indexed.stored(document_id)] == ["newest pumps"]


async def test_a_deleted_document_leaves_nothing_behind(indexed: Indexed) -> None:
    kept = await indexed.add(["kept pumps"])
    document_id = await indexed.add(TEXTS)
    await indexed.delete(document_id)
    assert await indexed.stored(document_id) == []
    assert [passage.document_id for passage in (await indexed.search("pump valves")).passages] == [kept]
    assert await indexed.counts() == (1, {"kept": 1, "pump": 1})
    await indexed.delete(document_id)
    assert (await indexed.counts())[0] == 1


async def test_of_a_deleted_document_neither_title_nor_words_of_its_names_are_left(indexed: Indexed) -> None:
    [work] = indexed.batches(["pumps"], filename="harbour.pdf")
    await indexed.index(work.model_copy(update={"title": "Secret plan of the museum", "language": "en", "source_id": uuid4()}))
    await indexed.delete(work.document_id)
    async with indexed.db.read() as session:
        keys = {"document_id": work.document_id}
        found = await session.execute(
            text("SELECT filename, title, language, source_id FROM documents WHERE document_id = :document_id"), keys
        )
        assert list(found.one()) == [None] * 4
        words = await session.scalars(text("SELECT lexeme FROM document_names WHERE document_id = :document_id"), keys)
        assert list(words) == []


async def test_a_late_batch_of_a_deleted_document_is_dropped(indexed: Indexed) -> None:
    first, second = indexed.batches(TEXTS, size=5)
    await indexed.index(first)
    await indexed.delete(first.document_id)
    await indexed.index(second)
    assert await indexed.stored(first.document_id) == []
    [receipt] = await indexed.emitted(first.document_id, "document")
    assert receipt["chunks"] == 5


async def test_the_rest_of_a_deleted_document_is_not_computed(indexed: Indexed, engine: MiniLM) -> None:
    first, rest = indexed.batches(TEXTS, size=5)
    await indexed.index(first)
    await indexed.delete(first.document_id)
    # Nobody serves this queue: who asks it for a vector waits for ever.
    await asyncio.wait_for(index_chunks(rest, indexed.delivery(rest), ModelRegistry(MicroBatcher(engine))), 10)
    assert await indexed.stored(first.document_id) == []


async def test_a_deletion_that_overtakes_the_first_batch_still_counts(indexed: Indexed) -> None:
    [work] = indexed.batches(TEXTS, document_id=uuid4())
    await indexed.delete(work.document_id)
    await indexed.index(work)
    assert await indexed.stored(work.document_id) == []


async def test_deletion_and_indexing_at_once_end_with_nothing(indexed: Indexed) -> None:
    batches = indexed.batches(TEXTS, size=1)
    await asyncio.gather(*(indexed.index(work) for work in batches), indexed.delete(batches[0].document_id))
    assert await indexed.stored(batches[0].document_id) == []
    assert (await indexed.counts())[0] == 0


async def test_a_chunk_that_cannot_be_stored_is_a_permanent_error(indexed: Indexed) -> None:
    [work] = indexed.batches(["good", "bad \x00 text"])
    with pytest.raises(UnstorableText, match="chunk 1"):
        await indexed.index(work)
    assert await indexed.stored(work.document_id) == []


async def test_the_receipt_of_a_deletion_counts_the_chunks_of_every_version(indexed: Indexed) -> None:
    document_id = await indexed.add(["old pumps", "old valves"])
    half, _ = indexed.batches(["new pumps", "never comes"], document_id=document_id, version=2, size=1)
    await indexed.index(half)
    await indexed.delete(document_id, version=2)
    await indexed.delete(document_id, version=2)
    unknown = uuid4()
    await indexed.delete(unknown)
    [receipt] = [event for event in await indexed.emitted(document_id, "document") if "chunks" in event]
    assert receipt["chunks"] == 3
    assert [event["chunks"] for event in await indexed.emitted(unknown, "document")] == [0]

"""An isolated search answers as if there were nothing else in the workspace: who was given a link to a part of it learns nothing
of the rest, neither from scores nor from the order, for example how common a word is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.embed import SearchFilters, SearchMode
from docutalk_embed.adapters.word_counts import WordCounts
from docutalk_embed.adapters.word_index import WordIndex
from docutalk_embed.domain.words import parse_query

from .conftest import Indexed

SHARED = [
    "The layoff of the northern harbour was announced in spring.",
    "Pump SKU-4711 was ordered for the northern harbour; pump SKU-4712 was not.",
    "Die Pumpen des Hafens wurden im Frühjahr ersetzt, und der Hafen blieb offen.",
    "War and hats are words of more than one language.",
]
# The same words in other numbers, and whatever else a workspace may know: names, languages, identifiers.
SECRET = [
    "A layoff here, a layoff there: the layoff of the southern harbour.",
    "SKU-4711 and SKU-4713 are pumps.",
    "Der Hafen hat im Krieg gelitten, und die Pumpen waren alt. Man hat sie ersetzt.",
    "Harbour, harbour, and nothing but the harbour. Hats are worn in war.",
]
QUERIES = (
    "layoff harbour",
    "SKU-4711",
    "which pump SKU-4713 was ordered",
    "SKU-4711 northern harbour",
    '"northern harbour" -pump',
    "war hat",
    "Pumpen im Hafen",
    "spring report of the harbour",
    '"the"',
)


async def filled(indexed: Indexed, *, others: int) -> dict[str, Any]:
    """A workspace with a document to share, and others beside it. The filters of a search in the one alone."""
    source_id = uuid4()
    [work] = indexed.batches(SHARED, filename="spring report.txt")
    await indexed.index(work.model_copy(update={"source_id": source_id}))
    for number in range(others):
        await indexed.add([f"{text} {number}" for text in SECRET], filename=f"harbour report {number}.txt")
    return {"document_ids": [work.document_id], "source_ids": [source_id]}


async def seen(indexed: Indexed, query: str, mode: SearchMode, filters: dict[str, Any]) -> list[tuple[object, ...]]:
    """All of an answer but ids, which tell nothing. Passages with the same score come in the order of their ids."""
    found = await indexed.search(query, mode=mode, filters=SearchFilters.model_validate(filters))
    shown = [(passage.score, passage.text, passage.scores, passage.highlights) for passage in found.passages]
    return sorted(shown, key=lambda one: (-one[0], one[1]))


@pytest.mark.parametrize("by", ["document_ids", "source_ids"])
@pytest.mark.parametrize("mode", list(SearchMode))
async def test_answer_does_not_depend_on_what_is_not_shared(
    indexed: Indexed, make_indexed: Callable[[], Indexed], mode: SearchMode, by: str
) -> None:
    larger = make_indexed()
    alone, among = await filled(indexed, others=0), await filled(larger, others=12)
    told = []
    for query in QUERIES:
        here = await seen(indexed, query, mode, {by: alone[by], "isolated": True})
        assert here
        assert here == await seen(larger, query, mode, {by: among[by], "isolated": True}), query
        told.append(here != await seen(larger, query, mode, {by: among[by]}))
    # What is only narrowed tells something, but for vectors: they know no other passages.
    assert any(told) == (mode is not SearchMode.SEMANTIC)


async def test_isolated_search_of_everything_is_the_same_as_any_other(indexed: Indexed) -> None:
    source_id = uuid4()
    for number in range(3):
        [work] = indexed.batches([f"{text} {number}" for text in SHARED + SECRET], filename=f"harbour report {number}.txt")
        await indexed.index(work.model_copy(update={"source_id": source_id}))
    for query in QUERIES:
        apart, usual = [
            await indexed.search(query, limit=50, filters=SearchFilters(source_ids=[source_id], isolated=isolated))
            for isolated in (True, False)
        ]
        assert apart.passages == usual.passages, query


async def test_of_very_much_a_part_is_counted_and_a_word_that_it_has_not_is_taken_for_a_rare_one(indexed: Indexed) -> None:
    document_id = await indexed.add([f"The harbour has crane {number}." for number in ("one", "two", "three", "four", "five")])
    filters = SearchFilters(document_ids=[document_id], isolated=True)
    async with indexed.db.read() as session:
        counts = WordCounts.of_isolated(indexed.workspace_id, filters, reach=5, counted=2)
        words = await WordIndex(session, counts).read(parse_query("harbour crane one two three four five"))
    found = {lexeme.text: lexeme.chunk_count for lexeme in words.lexemes}
    assert (found.pop("harbour"), found.pop("crane")) == (5, 5)
    assert sorted(found.values()) == [1, 1, 1, 3, 3]

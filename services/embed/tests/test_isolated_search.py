"""An isolated search answers as if there were nothing else in the workspace: who was given a link to a part of it learns nothing
of the rest, neither from scores nor from the order, for example how common a word is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.embed import SearchFilters, SearchMode, SearchPassages
from docutalk_embed.adapters.isolated_words import IsolatedWords
from docutalk_embed.domain.words import parse_query
from docutalk_embed.use_cases.search_passages import search_passages

from .conftest import Indexed

SHARED = {
    "spring report 2024.txt": [
        "The layoff of the northern harbour was announced in spring.",
        "Pump SKU-4711 was ordered for the northern harbour; pump SKU-4712 was not.",
        "Die Pumpen des Hafens wurden im Frühjahr ersetzt, und der Hafen blieb offen.",
    ],
    "pump manual.txt": ["War and hats are words of more than one language.", "Pumps of the harbour leak often."],
    "valves 2024.txt": ["Valves of the harbour are closed.", "The pump runs in spring."],
}
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
    "pump manual 2024",
    "layoff of xyzzy",
    '"the"',
)


async def filled(indexed: Indexed, *, others: int) -> dict[str, list[Any]]:
    """A workspace with a source to share, and other documents beside it: what may be searched of it."""
    source_id, documents = uuid4(), []
    for name, texts in SHARED.items():
        [work] = indexed.batches(texts, filename=name)
        await indexed.index(work.model_copy(update={"source_id": source_id, "language": "en"}))
        documents.append(work.document_id)
    for number in range(others):
        [work] = indexed.batches([f"{text} {number}" for text in SECRET], filename=f"harbour pump report 2024 {number}.txt")
        await indexed.index(work.model_copy(update={"language": ["de", "en", None][number % 3]}))
    return {"source_ids": [source_id], "document_ids": documents[:1]}


async def seen(indexed: Indexed, query: str, mode: SearchMode, filters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """All pages of an answer but for ids, which tell nothing. Passages with the same score come in the order of those."""
    after, shown = None, []
    while True:
        asked = SearchPassages(
            workspace_id=indexed.workspace_id,
            query=query,
            mode=mode,
            limit=2,
            after=after,
            filters=SearchFilters.model_validate(filters),
        )
        page = await search_passages(asked, indexed.db, indexed.registry)
        shown += [
            (passage.score, passage.text, passage.filename, passage.scores, passage.highlights, len(passage.duplicates))
            for passage in page.passages
        ]
        if (after := page.next) is None:
            return sorted(shown, key=lambda one: (-one[0], one[1]))


@pytest.mark.parametrize("by", ["document_ids", "source_ids"])
@pytest.mark.parametrize("mode", list(SearchMode))
async def test_answer_does_not_depend_on_what_is_not_shared(
    indexed: Indexed, make_indexed: Callable[[], Indexed], mode: SearchMode, by: str
) -> None:
    larger = make_indexed()
    alone, among = await filled(indexed, others=0), await filled(larger, others=12)
    told, named, empty = [], [], 0
    for query in QUERIES:
        here = await seen(indexed, query, mode, {by: alone[by], "isolated": True})
        assert here == await seen(larger, query, mode, {by: among[by], "isolated": True}), query
        narrowed = await seen(larger, query, mode, {by: among[by]})
        told.append([scores for _, _, _, scores, *_ in here] != [scores for _, _, _, scores, *_ in narrowed])
        empty += not here
        named += [scores.name for _, _, _, scores, *_ in here if scores.name is not None]
    assert empty <= 1, "nothing was compared"
    # The scores of what is only narrowed tell something, but for those of vectors: they know no other passages.
    assert any(told) == (mode is not SearchMode.SEMANTIC)
    # One document alone has no name that tells it from others.
    assert bool(named) == (mode is SearchMode.HYBRID and by == "source_ids")


async def test_isolated_search_of_everything_is_the_same_as_any_other(indexed: Indexed) -> None:
    shared = await filled(indexed, others=0)
    for query in QUERIES:
        for mode in SearchMode:
            apart = await seen(indexed, query, mode, {"source_ids": shared["source_ids"], "isolated": True})
            assert apart == await seen(indexed, query, mode, {"source_ids": shared["source_ids"]}), (query, mode)


async def test_word_counts_as_often_as_it_is_counted_and_none_that_is_nowhere(indexed: Indexed) -> None:
    document_id = await indexed.add([f"The harbour has crane {number}." for number in ("one", "two", "three", "four", "five")])
    await indexed.add(["The harbour has crane six, and crane six-6."])
    filters = SearchFilters(document_ids=[document_id], isolated=True)
    async with indexed.db.read() as session:
        words = await IsolatedWords(session, indexed.workspace_id, filters, most=3).read(parse_query("harbour one six six-6"))
    counts = {lexeme.text: lexeme.chunk_count for lexeme in words.lexemes}
    assert (counts["harbour"], counts["one"], counts["six"]) == (3, 1, 0)
    assert "six-6" not in counts

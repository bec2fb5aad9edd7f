"""Searching: scope, filters, modes, places, highlights, odd queries, the index against exact search."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from docutalk_common.contracts.embed import PassagesFound, SearchFilters, SearchMode, SearchPassages
from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.passage_repository import PassageRepository, QueryVector
from docutalk_embed.adapters.word_index import WordIndex, WordQuery
from docutalk_embed.domain import MAX_QUERY_CHARACTERS, InvalidQuery, any_of, keyword_query
from docutalk_embed.domain.words import parse_query
from docutalk_embed.use_cases.search_passages import search_passages

from .conftest import Indexed

PUMPS = "The committee decided to replace the pumps before winter."
REVENUE = "Net revenue rose by twelve percent to 3.1 billion dollars."
GARDEN = "Roses should be cut back in early spring."


async def search(indexed: Indexed, query: str, **fields: object) -> PassagesFound:
    """A search with whatever else may be asked for."""
    request = SearchPassages.model_validate({"workspace_id": indexed.workspace_id, "query": query, **fields})
    return await search_passages(request, indexed.db, indexed.registry)


async def test_the_best_passage_comes_first_with_its_place(indexed: Indexed) -> None:
    document_id = await indexed.add([GARDEN, REVENUE, PUMPS], filename="minutes.txt")
    first, *_ = (await indexed.search("Which year's sales went up?")).passages
    assert (first.document_id, first.filename, first.page, first.version) == (document_id, "minutes.txt", 2, 1)
    assert (first.text, first.start, first.end) == (REVENUE, 10, 10 + len(REVENUE))
    assert 0 <= first.score <= 1


async def test_a_workspace_sees_only_its_own_passages(make_indexed: Callable[[], Indexed]) -> None:
    mine, theirs = make_indexed(), make_indexed()
    own = await mine.add([PUMPS])
    foreign = await theirs.add([PUMPS, REVENUE])
    for mode in SearchMode:
        assert {p.document_id for p in (await mine.search("pumps revenue", mode=mode)).passages} == {own}
        by_id = SearchFilters(document_ids=[foreign])
        assert (await mine.search("pumps", mode=mode, filters=by_id)).passages == []


async def test_an_empty_workspace_has_no_passages(indexed: Indexed) -> None:
    assert (await indexed.search("pumps")).passages == []


async def test_filters_narrow_both_lists(indexed: Indexed) -> None:
    report = await indexed.add([PUMPS, GARDEN], content_type="application/pdf")
    notes = await indexed.add([PUMPS, REVENUE], content_type="text/plain")

    async def found(mode: SearchMode, **filters: list[object]) -> set[object]:
        chosen = SearchFilters.model_validate(filters)
        return {p.document_id for p in (await search(indexed, "pumps", mode=mode, filters=chosen, merge=False)).passages}

    for mode in SearchMode:
        assert await found(mode) == {report, notes}
        assert await found(mode, document_ids=[report]) == {report}
        assert await found(mode, content_types=["text/plain"]) == {notes}
        assert await found(mode, document_ids=[report], content_types=["text/plain"]) == set()
        assert await found(mode, document_ids=[report, notes], content_types=["application/pdf"]) == {report}
        assert await found(mode, document_ids=[uuid4()]) == set()


async def test_scores_say_which_lists_a_passage_was_in(indexed: Indexed) -> None:
    await indexed.add([PUMPS, REVENUE])
    by_text = {p.text: p.scores for p in (await indexed.search("pumps")).passages}
    assert by_text[PUMPS].semantic is not None
    assert by_text[PUMPS].keyword is not None
    assert by_text[REVENUE].keyword is None
    semantic = (await indexed.search("pumps", mode=SearchMode.SEMANTIC)).passages
    assert [p.text for p in semantic] == [PUMPS, REVENUE]
    assert all(p.scores.keyword is None for p in semantic)
    keyword = (await indexed.search("pumps", mode=SearchMode.KEYWORD)).passages
    assert [(p.text, p.scores.semantic) for p in keyword] == [(PUMPS, None)]


async def test_a_natural_question_finds_by_any_of_its_words_and_rare_words_count_more(indexed: Indexed) -> None:
    await indexed.add(["The report says so."] * 3 + ["The report mentions Zwickau."])
    query = "What does the report say about Zwickau, please?"
    passages = (await search(indexed, query, mode=SearchMode.KEYWORD, merge=False)).passages
    assert passages[0].text == "The report mentions Zwickau."
    assert len(passages) == 4


async def test_the_keyword_score_is_bm25(indexed: Indexed) -> None:
    await indexed.add(["pump pump valve", "valve", "engine"])
    [passage] = (await indexed.search("pumps", mode=SearchMode.KEYWORD)).passages
    inverse_frequency = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    saturated = 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 80))
    assert passage.scores.keyword == pytest.approx(inverse_frequency * saturated, rel=1e-3)


async def test_the_semantic_score_is_the_cosine(indexed: Indexed) -> None:
    await indexed.add([PUMPS])
    [passage] = (await indexed.search(PUMPS, mode=SearchMode.SEMANTIC)).passages
    assert passage.scores.semantic == pytest.approx(1, abs=2e-3)


async def test_candidates_from_the_word_index_score_as_a_full_scan_does(indexed: Indexed) -> None:
    await indexed.add([PUMPS, REVENUE, GARDEN, "Pumps, pumps and pumps.", "Nothing of the kind."])
    async with indexed.db.read() as session:
        passages = PassageRepository(session, indexed.workspace_id, SearchFilters())
        words = await WordIndex(session, indexed.workspace_id).read(parse_query("replace pumps in spring"))
        scan = keyword_query(words.lexemes, 5, 5)
        assert scan is not None
        everything = await passages.matching(scan, words)
        by_index = await passages.matching(replace(scan, candidates=any_of([one.text for one in words.lexemes])), words)
    assert len(everything) == 3
    assert list(by_index.items()) == list(everything.items())


async def test_limit_cuts_the_list(indexed: Indexed) -> None:
    await indexed.add([f"pump number {number}" for number in range(30)])
    assert len((await indexed.search("pump", limit=7)).passages) == 7
    for limit in (0, 101):
        with pytest.raises(InvalidQuery, match="1 to 100"):
            await indexed.search("pump", limit=limit)


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Pumping stations, pumps & a pumped storage.", "pump", ["Pumping", "pumps", "pumped"]),
        ("😀😀 Größe: 12 Brücken über die Straße 😀", "Brücken Straße", ["Brücken", "Straße"]),
        ("state-of-the-art <b>pump</b> in the pump-house", "pump", ["pump", "pump"]),
        ("line one\n\n\tline  two &amp; pump's end", "pump line", ["line", "line", "pump"]),
        ("cost is 3.5 million, i.e. -3.5e6 in 2024", "3.5 2024", ["3.5", "2024"]),
        ("marks \ue000pump\ue001 of its own", "pump", ["pump"]),
    ],
)
async def test_highlights_are_exactly_the_querys_words(indexed: Indexed, text: str, query: str, expected: list[str]) -> None:
    await indexed.add([text])
    [passage] = (await indexed.search(query)).passages
    assert passage.text == text
    assert [text[mark.start : mark.end] for mark in passage.highlights] == expected


@pytest.mark.parametrize("query", ["???", "!", "the of and", "'", "\\", "' | (", "a:* & !b <-> c", "😀", "%_", "x" * 5000])
async def test_an_odd_query_still_searches_by_meaning(indexed: Indexed, query: str) -> None:
    await indexed.add([PUMPS, GARDEN])
    assert len((await indexed.search(query)).passages) == 2
    assert isinstance((await indexed.search(query, mode=SearchMode.KEYWORD)).passages, list)


@pytest.mark.parametrize("query", ["pumps \x00 winter", "pumps \ud83d winter", "it's pumps' \\winter\\"])
async def test_unstorable_and_quoted_characters_do_not_break_a_query(indexed: Indexed, query: str) -> None:
    await indexed.add([PUMPS, GARDEN])
    assert (await indexed.search(query)).passages[0].text == PUMPS


async def test_a_query_of_100_000_characters_is_refused_with_a_reason(indexed: Indexed) -> None:
    await indexed.add([PUMPS])
    with pytest.raises(InvalidQuery, match="100,000 characters"):
        await indexed.search("x" * 100_000)
    words = " ".join(f"word{number}" for number in range(MAX_QUERY_CHARACTERS // 10))
    assert len((await indexed.search(words)).passages) == 1


async def test_the_index_finds_what_exact_search_finds_within_a_small_workspace(make_apart: Callable[[], Indexed]) -> None:
    nouns = ["pump", "valve", "bridge", "budget", "garden", "engine", "river", "school", "tax", "harbour", "museum", "forest"]
    verbs = ["was repaired", "is closed", "cost too much", "opened in May", "was sold", "needs paint"]
    chance = random.Random(11)
    sentences = [
        f"The {chance.choice(nouns)} near the {chance.choice(nouns)} {chance.choice(verbs)}, item {n}." for n in range(330)
    ]
    small, large = make_apart(), make_apart()
    await small.add(sentences[:30])
    await large.add(sentences[30:])
    hits = total = 0
    for indexed, limit in ((small, 10), (large, 10), (small, 30)):
        for noun in nouns[:6]:
            [vector] = await indexed.registry.built_in.embed([f"what about the {noun}?"], Lane.QUERY)
            compared = QueryVector("embeddings_1", str(vector.tolist()))
            words = WordQuery(parse_query(noun))
            async with indexed.db.read() as session:
                passages = PassageRepository(session, indexed.workspace_id, SearchFilters())
                exact = await passages.nearest(compared, words, exact=True, limit=limit)
                by_index = await passages.nearest(compared, words, exact=False, limit=limit)
            assert len(by_index) == limit
            assert len(set(by_index) & set(exact)) >= 0.9 * limit
            hits += len(set(by_index) & set(exact))
            total += limit
    assert hits / total >= 0.98

"""Pages of a search: together the whole ranking, whatever comes and goes between them; and what is no `after`."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from uuid import UUID

import pytest
from docutalk_common.contracts.embed import Passage, PassagesFound, SearchMode, SearchPassages
from docutalk_common.contracts.ingest import Chunk
from docutalk_embed.domain import InvalidQuery
from docutalk_embed.domain.cursor import write_cursor
from docutalk_embed.domain.grouping import Group
from docutalk_embed.domain.ranking import Ranked
from docutalk_embed.use_cases.search_passages import search_passages
from docutalk_embed.use_cases.show_passages import MOST_BYTES

from .conftest import Indexed

NOUNS = ["pump", "valve", "bridge", "budget", "garden", "engine", "river", "school", "tax", "harbour", "museum", "forest"]


def sentences(count: int) -> list[str]:
    """Texts about pumps that say different things, each of several words of its own."""
    return [
        f"The pump of the {NOUNS[n % 12]} near the {NOUNS[n // 12 % 12]} has number {n} and letter {chr(97 + n % 26) * 3}."
        for n in range(count)
    ]


async def page(indexed: Indexed, query: str = "the pump near the river", **fields: object) -> PassagesFound:
    """One page."""
    request = SearchPassages.model_validate({"workspace_id": indexed.workspace_id, "query": query, **fields})
    return await search_passages(request, indexed.db, indexed.registry)


async def pages(indexed: Indexed, **fields: object) -> list[list[Passage]]:
    """All of them."""
    listed = []
    after = None
    while True:
        found = await page(indexed, after=after, **fields)
        listed.append(found.passages)
        if (after := found.next) is None:
            return listed


def ids(passages: list[Passage]) -> list[UUID]:
    return [passage.chunk_id for passage in passages]


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("mode", list(SearchMode))
async def test_pages_together_are_the_ranking_with_the_same_scores(indexed: Indexed, mode: SearchMode, merge: bool) -> None:
    await indexed.add(sentences(150))
    whole = await page(indexed, mode=mode, limit=100, merge=merge)
    listed = await pages(indexed, mode=mode, limit=23, merge=merge)
    together = [passage for part in listed for passage in part]
    assert all(len(part) == 23 for part in listed[:-1])
    assert ids(together)[:100] == ids(whole.passages)
    assert len(set(ids(together))) == len(together)
    for one, other in zip(together, whole.passages, strict=False):
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert one.scores.semantic == pytest.approx(other.scores.semantic, abs=1e-6)
        assert one.scores.keyword == pytest.approx(other.scores.keyword, abs=1e-4)
        assert (one.text, one.highlights, one.filename) == (other.text, other.highlights, other.filename)
    scores = [passage.score for passage in together]
    assert scores == sorted(scores, reverse=True)


async def test_documents_that_come_and_go_between_pages_make_no_page_repeat_or_skip(indexed: Indexed) -> None:
    documents = [await indexed.add(sentences(20)[n::4], filename=f"{n}.txt") for n in range(4)]
    before = await page(indexed, limit=100)
    first = await page(indexed, limit=5)
    await indexed.add(["The pump near the river is by far the best pump near the river."])
    await indexed.delete(documents[2])
    second = await page(indexed, limit=5, after=first.next)
    third = await page(indexed, limit=100, after=second.next)
    expected = [p for p in before.passages[5:] if p.document_id != documents[2]]
    assert ids(second.passages) == ids(expected)[:5]
    assert ids(third.passages) == ids(expected)[5:]
    assert third.next is None


async def test_a_copy_takes_the_place_of_a_passage_that_was_deleted_between_pages(indexed: Indexed) -> None:
    rest = sentences(3)
    await indexed.add(rest)
    copies = {await indexed.add(["Museums close on Mondays in winter."]) for _ in range(2)}
    first = await page(indexed, limit=3)
    [last] = (await page(indexed, limit=3, after=first.next)).passages
    assert {last.document_id, *(place.document_id for place in last.duplicates)} == copies
    await indexed.delete(last.document_id)
    [instead] = (await page(indexed, limit=3, after=first.next)).passages
    assert copies == {last.document_id, instead.document_id}
    assert instead.text == last.text
    assert instead.duplicates == []


async def test_the_last_page_says_so(indexed: Indexed) -> None:
    await indexed.add(sentences(4))
    first = await page(indexed, limit=2)
    second = await page(indexed, limit=2, after=first.next)
    assert len(second.passages) == 2
    assert second.next is None
    assert (await page(indexed, limit=4)).next is None


async def test_an_after_stays_small_with_two_full_lists(indexed: Indexed) -> None:
    await indexed.add([f"{text} Pump {n}." for n, text in enumerate(sentences(260))])
    found = await page(indexed, query="pump 7 and pump 9 near the tax museum", limit=1, merge=False)
    assert found.next is not None
    assert 2_000 < len(found.next) < 16_000
    assert set(found.next) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


async def test_an_after_of_another_search_is_refused_with_a_reason(make_indexed: Callable[[], Indexed]) -> None:
    indexed, other = make_indexed(), make_indexed()
    for one in (indexed, other):
        await one.add(sentences(6))
    after = (await page(indexed, limit=2)).next
    for asked in (
        {"query": "the pump near the sea"},
        {"mode": "semantic"},
        {"merge": False},
        {"filters": {"content_types": ["text/plain"]}},
    ):
        with pytest.raises(InvalidQuery, match="another search"):
            await page(indexed, after=after, **asked)
    with pytest.raises(InvalidQuery, match="another search"):
        await page(other, after=after)
    assert len((await page(indexed, limit=3, after=after)).passages) == 3


async def test_a_garbled_after_is_refused_with_a_reason(indexed: Indexed) -> None:
    await indexed.add(sentences(6))
    after = (await page(indexed, limit=2)).next
    assert after is not None
    bomb = base64.urlsafe_b64encode(zlib.compress(bytes(1_000_000))).decode()
    middle = len(after) // 2
    changed = after[:middle] + ("A" if after[middle] != "A" else "B") + after[middle + 1 :]
    for garbled in ("", "x", "äöü", after[:-8], after[8:], changed, after + "AAAA", bomb, "A" * 100_000):
        with pytest.raises(InvalidQuery, match="`after`"):
            await page(indexed, after=garbled)


async def test_neighbours_are_one_passage_that_is_the_text_of_its_page(indexed: Indexed) -> None:
    page_text = "Pumps were replaced in May.\n\nPumps were replaced in June.   Pumps were replaced in July."
    spans = [(0, 27), (29, 57), (60, 88)]
    [work] = indexed.batches([page_text[start:end] for start, end in spans])
    ends = [None, 27, 57]
    chunks = [
        Chunk(
            chunk_id=chunk.chunk_id,
            ordinal=number,
            page=1,
            start=start,
            end=end,
            text=chunk.text,
            gap=None if ends[number] is None else page_text[ends[number] : start],
        )
        for number, (chunk, (start, end)) in enumerate(zip(work.chunks, spans, strict=True))
    ]
    await indexed.index(work.model_copy(update={"chunks": chunks}))
    await indexed.add(["Gardens were closed.", "Taxes rose."])
    passage = (await page(indexed, query="pumps")).passages[0]
    assert passage.chunk_ids == [chunk.chunk_id for chunk in chunks]
    assert passage.chunk_id in passage.chunk_ids
    assert passage.text == page_text[passage.start : passage.end] == page_text
    assert [passage.text[mark.start : mark.end] for mark in passage.highlights] == ["Pumps"] * 3
    apart = (await page(indexed, query="pumps", merge=False)).passages
    assert {chunk.text for chunk in chunks} == {p.text for p in apart[:3]}


async def test_an_after_that_no_page_gave_shows_nothing_that_stands_nowhere(make_indexed: Callable[[], Indexed]) -> None:
    indexed, other = make_indexed(), make_indexed()
    [work] = indexed.batches(sentences(3))
    await indexed.index(work)
    [foreign] = other.batches(sentences(1))
    await other.index(foreign)
    own, foreign_id = [chunk.chunk_id for chunk in work.chunks], foreign.chunks[0].chunk_id
    asked = SearchPassages(workspace_id=indexed.workspace_id, query="the pump near the river")

    def after(chunk_ids: list[UUID], duplicates: list[UUID], score: float = 0.5) -> str:
        return write_cursor(asked, "m", [Group(Ranked(own[0], score, None, None), chunk_ids, duplicates)])

    # Chunks of three pages are no passage.
    [passage] = (await page(indexed, after=after(own, []))).passages
    assert (passage.chunk_ids, passage.text) == ([own[0]], work.chunks[0].text)
    assert (await page(indexed, after=after([own[0], foreign_id], []))).passages == []
    [passage] = (await page(indexed, after=after([own[0]], [foreign_id]))).passages
    assert passage.duplicates == []
    with pytest.raises(InvalidQuery, match="`after`"):
        await page(indexed, after=after([own[0]], [], score=float("inf")))
    content = zlib.decompress(base64.urlsafe_b64decode(after([own[0]], []) + "=="))
    none_of_its_own = bytearray(content)
    none_of_its_own[11], none_of_its_own[13] = 0, 1
    with pytest.raises(InvalidQuery, match="`after`"):
        await page(indexed, after=base64.urlsafe_b64encode(zlib.compress(none_of_its_own)).decode())


async def test_a_page_ends_before_it_is_too_long_for_a_message_and_the_next_one_goes_on(indexed: Indexed) -> None:
    await indexed.add(["x " * 5_000] * 12)
    listed = await pages(indexed, query="x", mode="keyword", limit=12, merge=False)
    assert all(sum(len(passage.model_dump_json()) for passage in part) <= MOST_BYTES for part in listed)
    assert [0 < len(part) < 12 for part in listed] == [True, True]
    assert len({passage.chunk_id for part in listed for passage in part}) == 12

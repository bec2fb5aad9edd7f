"""From a ranking to what is shown: neighbours joined exactly, and what says the same shown once."""

from __future__ import annotations

from uuid import UUID

from docutalk_embed.domain.grouping import MAX_JOINED, Piece, group, joined_text, ungrouped
from docutalk_embed.domain.ranking import Ranked
from hypothesis import given
from hypothesis import strategies as st

DOCUMENT = UUID(int=1000)
PAGE = "Pumps were replaced in May.\n\nValves were kept.   Engines were sold.\tGardens were closed in winter."
SPANS = [(0, 27), (29, 46), (49, 67), (68, 98)]


def piece(number: int, *, start: int, end: int, page_text: str = PAGE, before: int | None = None, **changed: object) -> Piece:
    """A chunk of a page; `before`: where the chunk before it ends."""
    fields: dict[str, object] = {
        "chunk_id": UUID(int=number),
        "document_id": DOCUMENT,
        "version": 1,
        "filename": "minutes.txt",
        "ordinal": number,
        "page": 1,
        "start": start,
        "end": end,
        "gap": None if before is None else page_text[before:start],
        "config": "english",
        "text": page_text[start:end],
    }
    return Piece(**(fields | changed))  # type: ignore[arg-type]


def page_pieces() -> list[Piece]:
    """The four chunks of the page."""
    ends = [None, *(end for _, end in SPANS)]
    return [piece(number, start=start, end=end, before=ends[number]) for number, (start, end) in enumerate(SPANS)]


def ranking(*numbers: int, keyword: float | None = None) -> list[Ranked]:
    """These chunks, best first, with scores that are near each other."""
    return [Ranked(UUID(int=number), 1 - place / 100, 0.5, keyword) for place, number in enumerate(numbers)]


def shown(order: list[Ranked], pieces: list[Piece]) -> list[list[int]]:
    """The chunks of each group."""
    groups = group(order, {one.chunk_id: one for one in pieces})
    return [[chunk_id.int for chunk_id in one.chunk_ids] for one in groups]


def test_neighbours_are_joined_in_the_order_of_the_text_at_the_place_of_the_best() -> None:
    pieces = page_pieces()
    assert shown(ranking(1, 3, 0), pieces) == [[0, 1], [3]]
    [joined, _] = group(ranking(1, 3, 0), {one.chunk_id: one for one in pieces})
    assert joined.best.chunk_id == UUID(int=1)
    assert joined_text(pieces[0:2]) == PAGE[0:46]


def test_the_better_neighbour_is_joined_first_and_a_passage_stays_within_three_chunks() -> None:
    assert MAX_JOINED == 3
    assert shown(ranking(1, 2, 0, 3), page_pieces()) == [[0, 1, 2], [3]]
    assert shown(ranking(1, 2, 3, 0), page_pieces()) == [[1, 2, 3], [0]]


def test_chunks_apart_of_other_pages_documents_or_versions_stay_apart() -> None:
    first, second, *_ = page_pieces()
    for changed in ({"page": 2}, {"document_id": UUID(int=7)}, {"version": 2}, {"ordinal": 5}):
        other = piece(1, start=29, end=46, before=27, **changed)
        assert shown(ranking(0, 1), [first, other]) == [[0], [1]], changed
    assert shown(ranking(0, 1), [first, second]) == [[0, 1]]


def test_chunks_with_unknown_text_between_them_stay_apart() -> None:
    first, *_ = page_pieces()
    assert shown(ranking(0, 1), [first, piece(1, start=29, end=46)]) == [[0], [1]]
    # A gap that is not what lies between, for example of an earlier cut.
    assert shown(ranking(0, 1), [first, piece(1, start=29, end=46, gap="?")]) == [[0], [1]]


def test_overlapping_chunks_are_joined_without_saying_anything_twice() -> None:
    pieces = [piece(0, start=0, end=40), piece(1, start=29, end=67, gap="")]
    assert shown(ranking(0, 1), pieces) == [[0, 1]]
    assert joined_text(pieces) == PAGE[0:67]


def test_chunks_that_do_not_follow_one_another_on_their_page_stay_apart() -> None:
    assert shown(ranking(0, 1), [piece(0, start=0, end=27), piece(1, start=0, end=46)]) == [[0], [1]]
    assert shown(ranking(0, 1), [piece(0, start=29, end=46), piece(1, start=0, end=27)]) == [[0], [1]]


@given(st.text(min_size=4, max_size=60), st.lists(st.integers(0, 60), min_size=2, max_size=6))
def test_joined_text_is_the_text_of_the_page(page_text: str, cuts: list[int]) -> None:
    places = sorted({min(cut, len(page_text)) for cut in cuts})
    spans = list(zip(places[::2], places[1::2], strict=False))
    pieces = [
        piece(number, start=start, end=end, page_text=page_text, before=spans[number - 1][1] if number else None)
        for number, (start, end) in enumerate(spans)
    ]
    if pieces:
        assert joined_text(pieces) == page_text[spans[0][0] : spans[-1][1]]


LONG = " ".join(f"Word{number}" for number in range(80))


def elsewhere(number: int, text: str) -> Piece:
    """A chunk of a document of its own."""
    return piece(number, start=0, end=len(text), document_id=UUID(int=2000 + number), text=text)


def test_what_differs_in_white_space_and_case_is_shown_once_with_its_places() -> None:
    pieces = [elsewhere(1, LONG), elsewhere(2, LONG.upper().replace(" ", "\n")), elsewhere(3, "Another thing.")]
    groups = group(ranking(2, 3, 1), {one.chunk_id: one for one in pieces})
    assert [(one.chunk_ids, one.duplicates) for one in groups] == [
        ([UUID(int=2)], [UUID(int=1)]),
        ([UUID(int=3)], []),
    ]


def test_what_differs_in_one_word_of_many_is_shown_once_and_what_differs_in_more_is_not() -> None:
    nearly = LONG.replace("Word40", "another")
    other = nearly.replace("Word10", "another").replace("Word60", "another")
    assert shown(ranking(1, 2), [elsewhere(1, LONG), elsewhere(2, nearly)]) == [[1]]
    assert shown(ranking(1, 2), [elsewhere(1, LONG), elsewhere(2, other)]) == [[1], [2]]


def test_the_same_form_with_another_number_is_shown_for_itself() -> None:
    lease = " ".join(["The tenant pays the rent on the first day of each month to the landlord."] * 5)
    first, second = f"{lease} It is 1,200 euros.", f"{lease} It is 1,350 euros."
    assert shown(ranking(1, 2), [elsewhere(1, first), elsewhere(2, second)]) == [[1], [2]]
    assert shown(ranking(1, 2), [elsewhere(1, first), elsewhere(2, first)]) == [[1]]


def test_short_texts_are_the_same_only_when_all_their_words_are() -> None:
    assert shown(ranking(1, 2), [elsewhere(1, "Pump 4711"), elsewhere(2, "pump  4711")]) == [[1]]
    assert shown(ranking(1, 2), [elsewhere(1, "Pump 4711"), elsewhere(2, "Pump 4712")]) == [[1], [2]]


def test_of_many_copies_the_best_stays_and_lists_the_others_best_first() -> None:
    pieces = [elsewhere(number, LONG) for number in range(1, 30)]
    [only] = group(ranking(*range(1, 30)), {one.chunk_id: one for one in pieces})
    assert only.best.chunk_id == UUID(int=1)
    assert [chunk_id.int for chunk_id in only.duplicates] == list(range(2, 30))


def test_without_merging_each_chunk_stands_for_itself() -> None:
    assert [one.chunk_ids for one in ungrouped(ranking(2, 1))] == [[UUID(int=2)], [UUID(int=1)]]

"""Markers in a model's text, however the stream cuts it."""

from __future__ import annotations

import pytest
from docutalk_chat.domain.markers import Marker, MarkerReader, Piece
from hypothesis import given
from hypothesis import strategies as st


def read(*pieces: str) -> list[Piece]:
    """The pieces with neighbouring text joined."""
    reader = MarkerReader()
    found: list[Piece] = []
    for piece in pieces:
        found += reader.feed(piece)
    found += reader.finish()
    joined: list[Piece] = []
    for item in found:
        if isinstance(item, str) and joined and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


def test_marker_belongs_to_the_statement_before_it() -> None:
    assert read("Revenue rose to $5 million [1]. Costs fell sharply [2].") == [
        "Revenue rose to $5 million",
        Marker((1,), "Revenue rose to $5 million", " "),
        ". Costs fell sharply",
        Marker((2,), "Costs fell sharply", " "),
        ".",
    ]


def test_marker_behind_the_full_stop_belongs_to_the_sentence_that_ended() -> None:
    found = read("Revenue rose again. [1] Costs fell sharply. [2]")
    assert [piece for piece in found if isinstance(piece, Marker)] == [
        Marker((1,), "Revenue rose again.", " "),
        Marker((2,), "Costs fell sharply.", " "),
    ]


def test_two_statements_in_one_sentence_have_a_marker_each() -> None:
    found = read("Revenue rose by 5% [1] and net costs fell by 3% [2].")
    assert [piece.statement for piece in found if isinstance(piece, Marker)] == [
        "Revenue rose by 5%",
        "and net costs fell by 3%",
    ]


@pytest.mark.parametrize("group", ["[1, 3]", "[1;3]", "[ 1 , 3 ]"])
def test_group_is_one_marker_with_all_numbers(group: str) -> None:
    found = read(f"Revenue rose sharply {group}.")
    assert found[1] == Marker((1, 3), "Revenue rose sharply", " ")


@pytest.mark.parametrize("group", ["[1-3]", "[1–3]", "[1, 2 - 3]"])
def test_range_is_a_marker_with_every_number_in_it(group: str) -> None:
    found = read(f"Revenue rose sharply {group}.")
    assert found[1] == Marker((1, 2, 3), "Revenue rose sharply", " ")


def test_long_group_is_a_marker_however_the_stream_cuts_it() -> None:
    text = f"Revenue rose sharply [{', '.join(map(str, range(1, 31)))}]."
    assert read(*text)[1] == Marker(tuple(range(1, 31)), "Revenue rose sharply", " ")


def test_markers_in_a_row_share_the_statement() -> None:
    found = read("Revenue rose sharply [1][3].")
    assert [piece for piece in found if isinstance(piece, Marker)] == [
        Marker((1,), "Revenue rose sharply", " "),
        Marker((3,), "Revenue rose sharply", ""),
    ]


def test_marker_before_its_statement_waits_for_it() -> None:
    assert read("According to [2], revenue rose by 5%. More.") == [
        "According to",
        Marker((2,), "According to , revenue rose by 5%.", " "),
        ", revenue rose by 5%. More.",
    ]


def test_marker_at_the_very_end_without_any_statement_is_still_told() -> None:
    assert read("[1]") == [Marker((1,), "", "")]


@pytest.mark.parametrize("text", ["[2022]", "[a]", "[", "[1", "see [1, x]", "x[]y", "[[", "array[i]"])
def test_other_brackets_are_text(text: str) -> None:
    assert read(text) == [text]


@given(st.text(alphabet="ab1. ,-[]3\n!", max_size=60), st.data())
def test_cutting_the_stream_anywhere_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*pieces) == read(text)


@given(st.text(alphabet="ab1. ,[]3\n!", max_size=60))
def test_nothing_but_markers_and_trailing_space_is_taken_out(text: str) -> None:
    out = "".join(
        piece if isinstance(piece, str) else piece.space + "[" + ",".join(map(str, piece.numbers)) + "]" for piece in read(text)
    )
    assert _plain(out) == _plain(text)


def _plain(text: str) -> str:
    return "".join(character for character in text if character not in " \n;,0")

"""Thoughts are left out however a stream cuts them, and nothing else is."""

from __future__ import annotations

import pytest
from docutalk_common.llm.answer_text import ThoughtFilter, storable
from hypothesis import given
from hypothesis import strategies as st

PARTS = st.sampled_from(["<think>", "</think>", "<th", "ink>", "</thi", "<", ">", " ", "\n", "a", "think", "ü"])


def filtered(pieces: list[str]) -> str:
    """What is left of an answer in these pieces."""
    thoughts = ThoughtFilter()
    return "".join([thoughts.feed(piece) for piece in pieces]) + thoughts.finish()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("42", "42"),
        ("<think>Hm.</think>\n\n42", "42"),
        (" \n<think></think><think>Hm. <think></think>42", "42"),
        ("<think>Without an end", ""),
        ("<think>Hm.</think>", ""),
        ("Say <think>x</think>.", "Say <think>x</think>."),
        ("  42 ", "  42 "),
        ("<thin", "<thin"),
        ("<thinking>x", "<thinking>x"),
        ("<", "<"),
        ("", ""),
    ],
)
def test_thoughts_at_the_start_are_left_out(answer: str, expected: str) -> None:
    assert filtered([answer]) == expected
    assert filtered(list(answer)) == expected


@given(st.lists(PARTS, max_size=12), st.data())
def test_cuts_between_pieces_change_nothing(parts: list[str], data: st.DataObject) -> None:
    answer = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    assert filtered(pieces) == filtered([answer])


@given(st.text())
def test_text_that_begins_with_no_thought_is_left_as_it_is(text: str) -> None:
    if not text.lstrip().startswith("<think>"):
        assert filtered([text]) == text


def test_long_thought_is_not_kept() -> None:
    thoughts = ThoughtFilter()
    assert "".join(thoughts.feed(piece) for piece in ["<think>", *["x" * 1000] * 100]) == ""
    assert thoughts.feed("</think>42") == "42"


def test_white_space_without_end_is_not_kept() -> None:
    thoughts = ThoughtFilter()
    assert len("".join(thoughts.feed("\n" * 50) for _ in range(100))) == 5_000


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_stored_text_has_no_control_characters_and_is_utf8(text: str) -> None:
    stored = storable(text)
    stored.encode()
    assert not any((ord(character) < 32 and character not in "\n\t") or 127 <= ord(character) < 160 for character in stored)
    assert storable(stored) == stored

"""What fits into a model's window, and what goes first."""

from __future__ import annotations

import pytest
from docutalk_chat.domain.answers import AnswerNotPossible, Material, Source, Turn
from docutalk_chat.domain.budget import estimate_tokens, fit
from docutalk_chat.domain.images import ImageBreaker
from docutalk_chat.domain.prompt import build_messages, rewritten
from hypothesis import given
from hypothesis import strategies as st

from .factories import passage

WORDS = "The harvest was good and the rain came late. "


def material(turns: int, scores: list[float], *, words: int = 20) -> Material:
    """A question after some turns, with a source for each score."""
    said = [Turn("user" if number % 2 == 0 else "assistant", f"{number}: {WORDS * words}") for number in range(turns)]
    sources = [Source(n, passage(f"{n}: {WORDS * words}", score=score)) for n, score in enumerate(scores, start=1)]
    return Material("How was it?", [*said, Turn("user", "How was it?")], sources)


@given(
    window=st.integers(1024, 20_000),
    turns=st.integers(0, 9),
    scores=st.lists(st.floats(0, 1), max_size=12),
    words=st.integers(1, 60),
)
def test_what_stays_fits_and_the_least_needed_goes_first(window: int, turns: int, scores: list[float], words: int) -> None:
    whole = material(turns, scores, words=words)
    fitting = fit(whole, window)
    sent = sum(estimate_tokens(message.content) for message in build_messages(fitting, fence="f00dcafe"))
    assert sent <= window
    kept, gone = len(fitting.turns), len(whole.turns) - len(fitting.turns)
    assert fitting.turns == whole.turns[gone:]
    assert kept >= 1
    dropped = [source for source in whole.sources if source not in fitting.sources]
    if dropped:
        assert kept == 1, "passages go only when all older messages are gone"
        least = min((source.passage.score for source in fitting.sources), default=1.0)
        assert max(source.passage.score for source in dropped) <= least


def test_selected_text_stays_until_the_last() -> None:
    selected = Source(1, passage(WORDS * 20, score=1.0))
    others = [Source(n, passage(WORDS * 40, score=0.9)) for n in range(2, 9)]
    whole = Material("Why?", [Turn("user", "Why?")], [selected, *others], selected_text=WORDS, selected_source=1)
    assert fit(whole, 1300).sources == [selected]


def test_question_that_is_too_long_alone_is_refused() -> None:
    with pytest.raises(AnswerNotPossible, match="2048 tokens"):
        fit(Material(WORDS * 400, [Turn("user", WORDS * 400)], []), 2048)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        # What o200k and the like count, as published examples and rules of thumb have it.
        ("The quick brown fox jumps over the lazy dog.", 10, 14),
        ("1,234,567.89", 6, 9),
        ("internationalization", 3, 5),
        ("東京都に住んでいます。", 7, 13),
        ("Привет, как дела?", 6, 12),
        ("", 0, 1),
    ],
)
def test_estimate_is_near_what_tokenizers_count(text: str, least: int, most: int) -> None:
    assert least <= estimate_tokens(text) <= most


@given(st.lists(st.sampled_from(["!", "![", "[alt](http://x/y.png)", "Good", "!!", " ", "\n", "[1]", "("]), max_size=12))
def test_no_image_survives_however_the_text_is_cut(pieces: list[str]) -> None:
    breaker = ImageBreaker()
    out = "".join(breaker.feed(piece) for piece in pieces) + breaker.flush()
    whole = "".join(pieces)
    assert "![" not in out
    assert out.replace("!", "") == whole.replace("!", "")


def test_exclamations_stay() -> None:
    breaker = ImageBreaker()
    assert [breaker.feed("Good!"), breaker.feed(" Very good!"), breaker.flush()] == ["Good", "! Very good", "!"]


def test_rewritten_question_is_one_line_without_quotation_marks() -> None:
    assert rewritten('"What was the\n harvest?"', "And then?") == "What was the harvest?"
    assert rewritten(" \n", "And then?") is None
    assert rewritten("x" * 5000, "And then?") is None

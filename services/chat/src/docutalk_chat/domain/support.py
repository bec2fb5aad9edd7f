"""Finds the words of a passage that a statement stands on, so that its citation can quote them exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docutalk_chat.domain.spans import SpanKind, spans
from docutalk_chat.domain.words import is_figure, tokens

_LEAST = 0.3
_LEAST_WITHOUT_FIGURE = 0.6
"""A statement none of whose figures stand in the passage may still be computed from it; then its words must match well."""
_FIGURE_WEIGHT = 2.0
_CONTEXT_WEIGHT = 0.5
_WORTH_A_NEIGHBOUR = 0.2
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class _Statement:
    words: frozenset[str]
    figures: frozenset[str]

    @property
    def weight(self) -> float:
        return len(self.words) + _FIGURE_WEIGHT * len(self.figures)


def supporting_span(statement: str, passage: str) -> tuple[int, int] | None:
    """Start and end in `passage` of the sentence, row, or two neighbouring sentences that say most of what `statement`
    says; None when nothing there supports it."""
    said = _read(statement)
    if not said.weight:
        return None
    best: tuple[float, int, int] | None = None
    previous = None
    for span in spans(passage):
        text = passage[span.start : span.end]
        score = _score(said, text, span.context)
        if best is None or score > best[0]:
            best = (score, span.start, span.end)
        if previous is not None and span.kind is previous.kind is SpanKind.SENTENCE:
            both = _score(said, passage[previous.start : span.end], span.context)
            if both >= best[0] + _WORTH_A_NEIGHBOUR:
                best = (both, previous.start, span.end)
        previous = span
    if best is None or best[0] < _LEAST:
        return None
    if said.figures and best[0] < _LEAST_WITHOUT_FIGURE:
        figures = _figures(tokens(passage[best[1] : best[2]]))
        if not any(_same_figure(figure, other) for figure in said.figures for other in figures):
            return None
    return best[1], best[2]


def _read(text: str) -> _Statement:
    words = tokens(text)
    # Years stand in column titles more often than in the row itself: they count as words.
    return _Statement(frozenset(words) - _figures(words), _figures(words))


def _figures(words: list[str]) -> frozenset[str]:
    return frozenset(word for word in words if is_figure(word) and not _YEAR.fullmatch(word))


def _score(said: _Statement, text: str, context: str) -> float:
    words = tokens(text)
    own, above = frozenset(words), frozenset(tokens(context))
    score = sum(1.0 if word in own else _CONTEXT_WEIGHT if word in above else 0.0 for word in said.words)
    figures = _figures(words)
    score += _FIGURE_WEIGHT * sum(any(_same_figure(figure, other) for other in figures) for figure in said.figures)
    return score / said.weight


def _same_figure(stated: str, found: str) -> bool:
    """Equal, or rounded and scaled: `52.9` (billion) states `52862` (million)."""
    if stated == found:
        return True
    stated_digits, found_digits = (figure.replace(".", "").strip("0") for figure in (stated, found))
    if stated_digits == found_digits and len(stated_digits) > 1:
        return True
    length = len(stated_digits)
    if length < 2 or len(found_digits) <= length:
        return False
    rounded = int(found_digits[:length]) + (found_digits[length] >= "5")
    return str(rounded).strip("0") == stated_digits

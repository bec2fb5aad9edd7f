"""Finds selected text on a page, whatever its line breaks became on the way."""

from __future__ import annotations

import re

LONGEST_SELECTION = 4_000
"""Characters that are looked for; a longer selection is sent to the model but is no source of its own."""


def locate(selected: str, text: str) -> tuple[int, int] | None:
    """Start and end of the selection in `text`, or None. White space in one may be any white space in the other."""
    wanted = " ".join(selected.split())
    if not wanted or len(selected) > LONGEST_SELECTION:
        return None
    # Found as a plain string: a regular expression of thousands of words takes a tenth of a second for a page of repetitions.
    found = " ".join(text.split()).find(wanted)
    if found < 0:
        return None
    return _place_of(found, text), _place_of(found + len(wanted) - 1, text) + 1


def _place_of(position: int, text: str) -> int:
    """Where the visible character at `position` of the text with single spaces stands in the text itself."""
    for word in re.finditer(r"\S+", text):
        if position < len(word.group()):
            return word.start() + position
        position -= len(word.group()) + 1
    raise ValueError(position)


_PHRASE_WORDS = 8


def phrases(selected: str) -> list[str]:
    """Pieces of a selection to search for word for word: from its beginning, its middle and its end, because it may go over the
    border of a passage, and a document may have been cut into passages anywhere."""
    words = _QUOTES.sub(" ", selected).split()
    if not words or len(selected) > LONGEST_SELECTION:
        return []
    starts = (0, (len(words) - _PHRASE_WORDS) // 2, len(words) - _PHRASE_WORDS)
    return list(dict.fromkeys(" ".join(words[max(start, 0) : max(start, 0) + _PHRASE_WORDS]) for start in starts))


_QUOTES = re.compile(r"[\"“”„‟«»「」『』＂]")

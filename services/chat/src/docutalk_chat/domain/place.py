"""Finds selected text on a page, whatever its line breaks became on the way."""

from __future__ import annotations

import re

LONGEST_SELECTION = 4_000
"""Characters that are looked for; a longer selection is sent to the model but is no source of its own."""


def locate(selected: str, text: str) -> tuple[int, int] | None:
    """Start and end of the selection in `text`, or None. White space in one may be any white space in the other."""
    words = selected.split()
    if not words or len(selected) > LONGEST_SELECTION:
        return None
    match = re.search(r"\s+".join(map(re.escape, words)), text)
    return match.span() if match else None


_PHRASE_WORDS = 8


def phrases(selected: str) -> list[str]:
    """Pieces of a selection to search for word for word: from its beginning, its middle and its end, because it may go over the
    border of a passage, and a document may have been cut into passages anywhere."""
    words = _QUOTES.sub(" ", selected).split()
    if not words:
        return []
    starts = (0, (len(words) - _PHRASE_WORDS) // 2, len(words) - _PHRASE_WORDS)
    return list(dict.fromkeys(" ".join(words[max(start, 0) : max(start, 0) + _PHRASE_WORDS]) for start in starts))


_QUOTES = re.compile(r"[\"“”„‟«»「」『』＂]")

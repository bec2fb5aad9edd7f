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

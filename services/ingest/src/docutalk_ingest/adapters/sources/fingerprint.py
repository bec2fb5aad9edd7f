"""What of a page counts as its content when two fetches are compared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from docutalk_common.content_type import HTML

_TAG = re.compile(rb"<[^<>]*>")
_SPACE = re.compile(rb"\s+")
_HIDDEN = (b"script", b"style")
# The expressions keep all other threads from running while they work: on a whole page of 50 MB, four seconds.
_WINDOW = 1 << 18


def fingerprint(body: bytes, content_type: str) -> str:
    """Hex SHA-256: of an HTML page's words, of anything else's bytes.

    Most pages carry something that differs each time (a token in a form, the time in a script) and that no reader sees; by
    their bytes they would be changed at each run, and read and embedded again.
    """
    words = hashlib.sha256()
    none = True
    for part in _words(body) if content_type == HTML else ():
        words.update(part)
        none = False
    # A page without a word of its own is all script: its bytes are all there is to compare.
    return (hashlib.sha256(body) if none else words).hexdigest()


def _words(page: bytes) -> Iterator[bytes]:
    """The page's words with single spaces between them, in pieces. Linear in the size of the page, whatever it holds."""
    for name in _HIDDEN:
        page = _without(page, b"<" + name, b"</" + name)
    page = _without(page, b"<!--", b"-->")
    place, begun, space = 0, False, False
    while place < len(page):
        # Behind a `>`: no tag goes on there.
        end = page.find(b">", place + _WINDOW) + 1 or len(page)
        text = _TAG.sub(b" ", page[place:end])
        place = end
        for start in range(0, len(text), _WINDOW):
            part = _SPACE.sub(b" ", text[start : start + _WINDOW])
            space = space or part.startswith(b" ")
            if words := part.strip():
                yield b" " + words if begun and space else words
                begun, space = True, part.endswith(b" ")


def _without(page: bytes, start: bytes, end: bytes) -> bytes:
    lower = page.lower()
    kept: list[bytes] = []
    place = 0
    while (opening := lower.find(start, place)) >= 0:
        kept.append(page[place:opening])
        closing = lower.find(end, opening)
        if closing < 0:
            break
        place = lower.find(b">", closing) + 1
        if not place:
            break
    else:
        kept.append(page[place:])
    return b" ".join(kept)

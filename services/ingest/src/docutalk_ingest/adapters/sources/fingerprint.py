"""What of a page counts as its content when two fetches are compared."""

from __future__ import annotations

import hashlib
import re

from docutalk_common.content_type import HTML

_TAG = re.compile(rb"<[^<>]*>")
_SPACE = re.compile(rb"\s+")
_HIDDEN = (b"script", b"style")


def fingerprint(body: bytes, content_type: str) -> str:
    """Hex SHA-256: of an HTML page's words, of anything else's bytes.

    Most pages carry something that differs each time (a token in a form, the time in a script) and that no reader sees; by
    their bytes they would be changed at each run, and read and embedded again.
    """
    # A page without a word of its own is all script: its bytes are all there is to compare.
    return hashlib.sha256((_words(body) if content_type == HTML else b"") or body).hexdigest()


def _words(page: bytes) -> bytes:
    """Linear in the size of the page, whatever it holds."""
    for name in _HIDDEN:
        page = _without(page, b"<" + name, b"</" + name)
    page = _without(page, b"<!--", b"-->")
    return _SPACE.sub(b" ", _TAG.sub(b" ", page)).strip()


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

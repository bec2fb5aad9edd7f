"""What of a model's output is text of its answer."""

from __future__ import annotations

import re

# NUL, which PostgreSQL refuses; the other control characters, of which terminals make commands; halves of surrogate pairs,
# which UTF-8 cannot say.
_NOT_STORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_OPEN, _CLOSE = "<think>", "</think>"
_LONGEST_SPACE = 200
"""Characters before a thought. White space without end would be kept, and whoever limits an answer would not see it."""


def storable(text: str) -> str:
    """The text without control characters other than line feed and tab; half a surrogate pair becomes U+FFFD."""
    if _NOT_STORABLE.search(text) is None:
        return text
    return _NOT_STORABLE.sub(lambda found: "\ufffd" if found[0] >= "\ud800" else "", text)


class ThoughtFilter:
    """Leaves out `<think>…</think>` at the start of an answer, where local reasoning models write what they think.

    A tag may be cut anywhere. A thought without an end is left out too, and one later in the answer is text.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._thought = False
        self._begun = False

    def feed(self, piece: str) -> str:
        """The part of the answer that is known to be text with this piece; empty when it is not known yet."""
        if self._begun:
            return piece
        self._held += piece
        while not self._begun:
            start = self._held.lstrip()
            if self._thinking:
                _, closed, after = self._held.partition(_CLOSE)
                if not closed:
                    # Of a long thought only what may be the start of its end is kept.
                    self._held = self._held[-len(_CLOSE) :]
                    return ""
                self._held, self._thinking, self._thought = after, False, True
            elif len(self._held) - len(start) > _LONGEST_SPACE:
                self._begun = True
            elif start.startswith(_OPEN):
                self._held, self._thinking = start.removeprefix(_OPEN), True
            elif _OPEN.startswith(start):
                return ""
            else:
                self._begun = True
        return self._released()

    def finish(self) -> str:
        """The text that was held back, at the end of the answer."""
        return "" if self._begun or self._thinking else self._released()

    def _released(self) -> str:
        held, self._held = self._held, ""
        return held.lstrip() if self._thought else held

"""Keeps images out of what a model writes: a document could have told it to put what it knows into an image's address, which a
program that shows Markdown fetches without asking."""

from __future__ import annotations

import re

_BEFORE_BRACKET = re.compile(r"!+(?=\[)")


class ImageBreaker:
    """`![text](address)` becomes `[text](address)`, a link that nobody follows unasked, however the text is cut into pieces."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that is settled by now: exclamation marks at its end wait for what follows."""
        text = _BEFORE_BRACKET.sub("", self._held + text)
        settled = text.rstrip("!")
        self._held = text[len(settled) :]
        return settled

    def flush(self) -> str:
        """What was held back, at the end of the text, or nothing."""
        held, self._held = self._held, ""
        return held

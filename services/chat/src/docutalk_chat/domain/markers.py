"""Reads a model's text as it streams and finds the markers `[n]`, each with the statement that it stands behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from docutalk_chat.domain.words import tokens

_NUMBERS = r"\d{1,3}(?:\s*[-–]\s*\d{1,3})?"
_MARKER = re.compile(rf"\[(?=[^\]]{{1,200}}\])\s*{_NUMBERS}(?:\s*[,;]\s*{_NUMBERS})*\s*\]")
_BEGINNING = re.compile(r"\[[\d\s,;–-]{0,200}")
"""What may still become a marker when more text comes."""
_END_OF_SENTENCE = re.compile(r"[.!?。！？][\"'”’)*_]*$")
_LONGEST_WAIT = 400
"""Characters that are held back behind a marker which stands before its statement."""
_MOST_NUMBERS = 100
"""In one marker. Each is looked up in the sources, and a document may ask for `[1-999]` all over."""


@dataclass(frozen=True)
class Marker:
    """`[1, 3]` behind `statement`. `space` is the white space before it, which belongs to it when it is taken out."""

    numbers: tuple[int, ...]
    statement: str
    space: str


Piece = str | Marker


class MarkerReader:
    """Give it text with `feed` as it comes, and call `finish` at the end. However the text is cut into pieces, the joined
    result is the same. A statement is the part of the sentence before its marker, or the sentence that just ended."""

    def __init__(self) -> None:
        self._unread = ""
        self._space = ""
        self._clause = ""
        """Of the present sentence, since the last marker."""
        self._sentence = ""
        self._ended = False
        self._waiting: list[Marker] = []
        self._held = ""
        """Text behind a marker that waits for its statement."""

    def feed(self, text: str) -> Iterator[Piece]:
        """The pieces that are settled by now."""
        self._unread += text
        while self._unread:
            bracket = self._unread.find("[")
            if bracket != 0:
                plain, self._unread = (self._unread, "") if bracket < 0 else (self._unread[:bracket], self._unread[bracket:])
                yield from self._plain(plain)
            elif match := _MARKER.match(self._unread):
                self._unread = self._unread[match.end() :]
                yield from self._marker(_numbers(match.group()))
            elif _BEGINNING.fullmatch(self._unread):
                return
            else:
                self._unread = self._unread[1:]
                yield from self._plain("[")

    def finish(self) -> Iterator[Piece]:
        """What was still held back. White space at the very end is left out."""
        plain, self._unread = self._unread, ""
        if plain:
            yield from self._plain(plain)
        yield from self._release()
        self._space = ""

    def _plain(self, text: str) -> Iterator[Piece]:
        # Cut where a sentence may end, so that a statement in waiting goes out with its own sentence only.
        for part in re.findall(r"\s+|[^\s]+", text):
            yield from self._word(part)

    def _word(self, part: str) -> Iterator[Piece]:
        if part.isspace():
            if "\n" in part or _END_OF_SENTENCE.search(self._sentence):
                self._ended = True
                if self._waiting and self._sentence.strip():
                    yield from self._release()
            if self._waiting:
                self._held += part
            else:
                self._space += part
            if not self._ended:
                self._clause += part
                self._sentence += part
            return
        if self._ended:
            self._sentence = self._clause = ""
            self._ended = False
        self._sentence += part
        self._clause += part
        if self._waiting:
            self._held += part
            if len(self._held) > _LONGEST_WAIT:
                yield from self._release()
        else:
            space, self._space = self._space, ""
            yield space + part

    def _marker(self, numbers: tuple[int, ...]) -> Iterator[Piece]:
        space, self._space = self._space, ""
        if self._waiting:
            # A second marker in a row, or one behind the statement that the first waits for.
            yield from self._release() if self._held.strip() else ()
        if self._ended and self._sentence.strip():
            yield Marker(numbers, self._sentence.strip(), space)
            return
        for statement in (self._clause, self._sentence):
            if len(tokens(statement)) >= 2:
                self._clause = ""
                yield Marker(numbers, statement.strip(), space)
                return
        self._waiting.append(Marker(numbers, "", space))

    def _release(self) -> Iterator[Piece]:
        waiting, self._waiting = self._waiting, []
        held, self._held = self._held, ""
        for marker in waiting:
            yield Marker(marker.numbers, self._sentence.strip(), marker.space)
        if held:
            yield held


def _numbers(marker: str) -> tuple[int, ...]:
    """`[1, 3-5]` means 1, 3, 4 and 5."""
    found: list[int] = []
    for first, last in re.findall(r"(\d+)(?:\s*[-–]\s*(\d+))?", marker):
        found += range(int(first), int(last or first) + 1)
    return tuple(found[:_MOST_NUMBERS])

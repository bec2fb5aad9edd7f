"""The text of a page of an office document. Its lines are cleaned when the page is done, and its units move along."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import replace

from docutalk_common.contracts.ingest import DocumentMetadata

from docutalk_ingest.adapters.parsers.page_text import finish_units, label_of
from docutalk_ingest.domain import MAX_CHARACTERS, TooMuchText, UnitSpan, freeze

_BEGINNING = 500
"""Characters before a first heading that may still be a letter head; further down it is a chapter's."""


class OfficeText:
    """Pieces are frozen as they come. Lines lose the blanks at their end, and several blank lines become one."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._units: list[UnitSpan] = []
        self._headings_end: int | None = None
        self.length = 0

    def write(self, text: str) -> None:
        """More text. `TooMuchText` when it is more than a document may hold, whatever may yet be cleaned away."""
        text = freeze(text)
        if text:
            self._pieces.append(text)
            self.length += len(text)
        if self.length > 2 * MAX_CHARACTERS:
            raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")

    def begin_line(self) -> None:
        """Ends the line that is begun, if there is one."""
        if self._pieces and not self._pieces[-1].endswith("\n"):
            self.write("\n")

    def row(self, cells: Iterable[str]) -> None:
        """A line of a table: the cells, each brought into one line, joined by tabs."""
        self.begin_line()
        self.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")

    def unit(self, kind: str, label: str, start: int, level: int = 0) -> None:
        """Names what was written since `start`, a value of `length`."""
        self._units.append(UnitSpan(kind, label_of(label), start, self.length, level))

    def heading(self, start: int, level: int) -> None:
        """What was written since `start` is a heading. One without words is none."""
        label = "".join(self._since(start))
        if label.strip():
            self.unit("heading", label, start, level)

    def end_headings(self) -> None:
        """What follows belongs to no heading written so far, and holds none."""
        self._headings_end = self.length

    def finish(self) -> tuple[str, list[UnitSpan]]:
        """The text, and the units that hold any, in the order in which they begin, outer ones first."""
        raw = "".join(self._pieces)
        text, places = _cleaned(raw)
        units = finish_units(self._units, len(raw))
        if self._headings_end is not None:
            units = [replace(u, end=min(u.end, self._headings_end)) if u.kind == "heading" else u for u in units]
        moved = [_moved(text, places, unit) for unit in units]
        return text, [unit for unit in moved if unit.end > unit.start]

    def _since(self, start: int) -> list[str]:
        found: list[str] = []
        left = self.length - start
        for piece in reversed(self._pieces):
            if left <= 0:
                break
            found.insert(0, piece[-left:])
            left -= len(piece)
        return found


def titled(metadata: DocumentMetadata, units: list[UnitSpan]) -> DocumentMetadata:
    """The metadata, with the document's first heading for a title when it says none and begins with one."""
    first = next((unit.label for unit in units if unit.kind == "heading" and unit.level == 1 and unit.start < _BEGINNING), None)
    return metadata if metadata.title else metadata.model_copy(update={"title": first})


def _cleaned(raw: str) -> tuple[str, list[tuple[int, int, int]]]:
    """The text, and for each line `(offset before, offset after, length after)`."""
    lines: list[str] = []
    places: list[tuple[int, int, int]] = []
    before = after = 0
    for line in raw.split("\n"):
        kept = line.rstrip()
        places.append((before, after, len(kept)))
        if kept or (lines and lines[-1]):
            lines.append(kept)
            after += len(kept) + 1
        before += len(line) + 1
    return "\n".join(lines).rstrip("\n"), places


def _moved(text: str, places: list[tuple[int, int, int]], unit: UnitSpan) -> UnitSpan:
    start, end = (_offset(places, offset, len(text)) for offset in (unit.start, unit.end))
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return replace(unit, start=start, end=end)


def _offset(places: list[tuple[int, int, int]], before: int, limit: int) -> int:
    line, after, length = places[bisect.bisect_right(places, before, key=lambda place: place[0]) - 1]
    return min(after + min(before - line, length), limit)

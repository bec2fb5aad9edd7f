"""A page's text, collected piece by piece, and the units in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from docutalk_ingest.domain import MAX_CHARACTERS, ParsedPage, TooMuchText, UnitSpan, freeze

MAX_UNITS = 5_000
"""Of one kind in one page. A table with more rows is found by its words, not by the numbers of its rows."""
_LABEL_CHARACTERS = 200


class PageText:
    """Text frozen as it comes, so that the places of units are those of the stored text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._units: list[UnitSpan] = []
        self._counts: Counter[str] = Counter()
        self.length = 0

    def add(self, text: str) -> None:
        """Appends text. A line end of two characters must not be torn apart by two calls. `TooMuchText`."""
        text = freeze(text)
        self._parts.append(text)
        self.length += len(text)
        if self.length > MAX_CHARACTERS:
            raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")

    def unit(self, kind: str, label: str, start: int, level: int = 0) -> None:
        """Names the stretch from `start` to here. A heading's stretch is that of its own line; `page` extends it."""
        self._counts[kind] += 1
        # One more than is kept tells `finish_units` that there are too many; millions would only take memory.
        if self._counts[kind] <= MAX_UNITS + 1:
            self._units.append(UnitSpan(kind, label_of(label), start, self.length, level))

    def heading(self, text: str, level: int) -> None:
        """Appends a heading's line without its end. A blank heading is text only."""
        start = self.length
        self.add(text)
        if text.strip():
            self.unit("heading", text, start, level)

    def page(self, label: str = "1", kind: str = "text") -> ParsedPage:
        """The page, without the white space at its end."""
        text = "".join(self._parts).rstrip()
        units = [_trimmed(text, unit) for unit in finish_units(self._units, len(text))]
        return ParsedPage(label, text, kind=kind, units=units)


def finish_units(units: list[UnitSpan], end: int) -> list[UnitSpan]:
    """Units in order, cut at the text's end, headings reaching to the next one of the same or a higher level.

    Of a kind with more than `MAX_UNITS`, none is kept.
    """
    counts = Counter(unit.kind for unit in units)
    kept = [unit for unit in units if counts[unit.kind] <= MAX_UNITS and unit.start < end]
    open_headings: list[int] = []
    for index, unit in enumerate(kept):
        if unit.kind != "heading":
            kept[index] = replace(unit, end=min(unit.end, end))
            continue
        while open_headings and kept[open_headings[-1]].level >= unit.level:
            closed = open_headings.pop()
            kept[closed] = replace(kept[closed], end=unit.start)
        open_headings.append(index)
    for index in open_headings:
        kept[index] = replace(kept[index], end=end)
    return sorted(kept, key=lambda unit: (unit.start, -unit.end))


def _trimmed(text: str, unit: UnitSpan) -> UnitSpan:
    """The unit without the white space at its end."""
    end = unit.end
    while end > unit.start and text[end - 1].isspace():
        end -= 1
    return replace(unit, end=end)


def label_of(text: str) -> str:
    """One frozen line of at most 200 characters."""
    line = " ".join(freeze(text[: 2 * _LABEL_CHARACTERS]).split())
    return line if len(line) <= _LABEL_CHARACTERS else line[: _LABEL_CHARACTERS - 1].rstrip() + "…"

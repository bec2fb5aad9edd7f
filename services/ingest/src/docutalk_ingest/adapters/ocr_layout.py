"""From recognised lines to the text of a page: in the order in which a person reads, column by column.

The recogniser goes from top to bottom over the whole width, so that the lines of two columns take turns.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from docutalk_ingest.domain import freeze

MIN_GAP = 0.003
"""Of the page's width: narrower gaps between boxes are no gutter. Boxes reach over their letters by half a line's height."""
_MIN_COLUMN_LINES = 3
_COLUMN_CHARACTERS = 15
"""At least half of the lines of running text have so many."""
_MAX_DEPTH = 12


@dataclass(frozen=True)
class OcrLine:
    """A recognised line. Where it would be, were the page straight, in page widths; and its box on the page as it is, in shares
    (0 to 1) of the page from its upper left corner: left, top, right, bottom.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    box: tuple[float, float, float, float]

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


LinePlace = tuple[int, int, float, float, float, float]
"""Start and end in the page's text, and the box."""


def straightened(found: Sequence[Sequence[Any]], width: int, height: int) -> list[OcrLine]:
    """Lines as OCR finds them on a picture of this size, `(text, x, y, …)` with the corners of each in pixels, beginning with the
    upper left one and going round; turned by the angle of most of them. Ten degrees make neighbouring lines overlap in height.
    """
    angle = median(_angle(line) for line in found) if found else 0.0
    turn = complex(math.cos(angle), -math.sin(angle)) / width
    lines = []
    for text, *corners in found:
        xs, ys = corners[0::2], corners[1::2]
        turned = [complex(x, y) * turn for x, y in zip(xs, ys, strict=True)]
        edges = [point.real for point in turned], [point.imag for point in turned]
        box = (min(xs) / width, min(ys) / height, max(xs) / width, max(ys) / height)
        shares = tuple(round(min(1.0, max(0.0, share)), 5) for share in box)
        lines.append(
            OcrLine(
                text, min(edges[0]), min(edges[1]), max(edges[0]), max(edges[1]), (shares[0], shares[1], shares[2], shares[3])
            )
        )
    return lines


def _angle(line: Sequence[Any]) -> float:
    """Of the upper edge, in radians."""
    return math.atan2(line[4] - line[2], line[3] - line[1])


def page_of_lines(lines: list[OcrLine]) -> tuple[str, list[LinePlace]]:
    """The frozen text of a page, paragraphs set apart by an empty line, and where each of the lines stands in it."""
    text = ""
    places: list[LinePlace] = []
    for block in _blocks([line for line in lines if line.text.strip()], 0):
        rows = _rows(block)
        heights = median(line.height for line in block)
        before: list[OcrLine] = []
        for row in rows:
            if text:
                text += "\n\n" if not before or _gap(before, row) > 0.8 * heights else "\n"
            for position, line in enumerate(row):
                said = freeze(line.text).replace("\n", " ").strip()
                if position:
                    text += "\t" if line.left - row[position - 1].right > 1.5 * heights else " "
                places.append((len(text), len(text) + len(said), *line.box))
                text += said
            before = row
    return text, places


def _gap(above: list[OcrLine], below: list[OcrLine]) -> float:
    return min(line.top for line in below) - max(line.bottom for line in above)


def _rows(block: list[OcrLine]) -> list[list[OcrLine]]:
    """Boxes at the same height are one row, from left to right: the cells of a table, or a line found in pieces."""
    rows: list[list[OcrLine]] = []
    for line in sorted(block, key=lambda each: each.middle):
        if rows and abs(median(each.middle for each in rows[-1]) - line.middle) < 0.5 * min(line.height, rows[-1][0].height):
            rows[-1].append(line)
        else:
            rows.append([line])
    for row in rows:
        row.sort(key=lambda each: each.left)
    return rows


def _blocks(lines: list[OcrLine], depth: int) -> list[list[OcrLine]]:
    """Cuts a page where it can be cut: first across its whole width, where a heading ends the columns above it, then along a
    gutter; so do the parts.
    """
    if len(lines) < 2 * _MIN_COLUMN_LINES or depth == _MAX_DEPTH:
        return [lines] if lines else []
    gutter = _gutter(lines)
    if gutter is None:
        return [lines]
    top, bottom, at = gutter
    above = [line for line in lines if line.middle < top]
    below = [line for line in lines if line.middle > bottom]
    left = [line for line in lines if top <= line.middle <= bottom and line.right <= at]
    right = [line for line in lines if top <= line.middle <= bottom and line.right > at]
    parts = (above, left, right, below)
    return [block for part in parts for block in _blocks(part, depth + 1)]


def _gutter(lines: list[OcrLine]) -> tuple[float, float, float] | None:
    """The tallest stretch of the page that a vertical gap divides into running text on both sides: top, bottom, and where.

    Columns of a table look alike but for one thing: their cells stand side by side in rows. Both sides must be wide and hold
    lines of text, most of them longer than a cell.
    """
    best: tuple[float, float, float] | None = None
    most = 0.0
    # Most columns that seem to be some are those of a table, whose cells are short: the search takes seconds for a page of them.
    ends = sorted(line.right for line in lines if len(line.text) >= _COLUMN_CHARACTERS)
    for at in sorted({round(line.left, 3) for line in lines}):
        edge = at - MIN_GAP / 2
        long_left = bisect_right(ends, edge)
        if min(long_left, len(ends) - long_left) < _MIN_COLUMN_LINES // 2 + 1:
            continue
        crossing = sorted((line for line in lines if line.left < edge < line.right), key=lambda each: each.middle)
        bounds = [-1.0, *(line.middle for line in crossing), 2.0]
        for top, bottom in itertools.pairwise(bounds):
            inside = [line for line in lines if top < line.middle < bottom]
            left = [line for line in inside if line.right <= edge]
            right = [line for line in inside if line.right > edge]
            if not _is_column(left) or not _is_column(right):
                continue
            if min(each.left for each in right) - max(each.right for each in left) < MIN_GAP:
                continue
            shared = min(max(each.bottom for each in side) for side in (left, right)) - max(
                min(each.top for each in side) for side in (left, right)
            )
            if shared > most + 1e-6:
                middles = [line.middle for line in inside]
                most, best = shared, (min(middles), max(middles), edge)
    return best


def _is_column(lines: list[OcrLine]) -> bool:
    if len(lines) < _MIN_COLUMN_LINES:
        return False
    width = max(line.right for line in lines) - min(line.left for line in lines)
    full = [line for line in lines if line.right - line.left > 0.6 * width]
    return width > 0.15 and 2 * len(full) > len(lines) and median(len(line.text) for line in lines) >= _COLUMN_CHARACTERS

"""Where a quote stands on a PDF page: its characters are walked as they were when the text was taken, and their boxes joined.

Kept nowhere: walking a page again takes some milliseconds, a box for every character of every page would be most of the database.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pypdfium2.raw as pdfium_c

from docutalk_ingest.adapters.parsers.pdf_text import ADDED, Traced, text_of, traced_text

Place = tuple[float, float, float, float]
"""Left, top, right, bottom in points from the upper left corner of the page as it is shown."""

_FINE = 100
"""pdfium maps places to whole pixels: as on a device with this many in a point."""
_SAME_LINE = 0.5
_SAME_COLUMN = 3


def page_size(page: pdfium_c.FPDF_PAGE) -> tuple[float, float]:
    """Width and height of the page as it is shown, in points."""
    return pdfium_c.FPDF_GetPageWidthF(page), pdfium_c.FPDF_GetPageHeightF(page)


def find_quote(page: pdfium_c.FPDF_PAGE, start: int, end: int, text: str) -> list[Place]:
    """A box for each line of `text[start:end]`, `text` being the page's stored text. Empty when the quote is not on the page."""
    with text_of(page) as text_page:
        if not text_page:
            return []
        traced = traced_text(page, text_page)
        if "".join(character for character, _ in traced) != text:
            start, end = _locate("".join(character for character, _ in traced), text, start, end)
        return list(_joined(_character_places(page, text_page, traced[start:end])))


def _locate(found: str, text: str, start: int, end: int) -> tuple[int, int]:
    """Where a quote of another reading of the page stands in this one: white space does not count, and the nearest is taken."""
    places = [index for index, character in enumerate(found) if not character.isspace()]
    squeezed = "".join(found[index] for index in places)
    quote = "".join(text[start:end].split())
    if not quote:
        return 0, 0
    expected = len("".join(text[:start].split()))
    best, at = -1, squeezed.find(quote)
    while at >= 0:
        if best < 0 or abs(at - expected) < abs(best - expected):
            best = at
        at = squeezed.find(quote, at + 1)
    return (places[best], places[best + len(quote) - 1] + 1) if best >= 0 else (0, 0)


def _character_places(page: pdfium_c.FPDF_PAGE, text_page: pdfium_c.FPDF_TEXTPAGE, traced: Traced) -> Iterator[Place | None]:
    """The box of each character; None where a line ends. White space has none."""
    width, height = (max(1, round(_FINE * side)) for side in page_size(page))
    loose = pdfium_c.FS_RECTF()
    edges = [ctypes.c_double() for _ in range(4)]
    for character, index in traced:
        if character == "\n":
            yield None
        if index == ADDED or character.isspace():
            continue
        # The loose box is as high as the font's line, so that the boxes of a line's characters align.
        if pdfium_c.FPDFText_GetLooseCharBox(text_page, index, loose) and loose.right > loose.left and loose.top > loose.bottom:
            x0, y0, x1, y1 = loose.left, loose.bottom, loose.right, loose.top
        elif pdfium_c.FPDFText_GetCharBox(text_page, index, *edges):
            x0, x1, y0, y1 = (edge.value for edge in edges)
        else:
            continue
        ends = [_on_device(page, width, height, x, y) for x, y in ((x0, y0), (x1, y1))]
        xs, ys = zip(*ends, strict=True)
        yield min(xs), min(ys), max(xs), max(ys)


def _on_device(page: pdfium_c.FPDF_PAGE, width: int, height: int, x: float, y: float) -> tuple[float, float]:
    device_x, device_y = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, device_x, device_y)
    return device_x.value / _FINE, device_y.value / _FINE


def _joined(places: Iterator[Place | None]) -> Iterator[Place]:
    line: Place | None = None
    for place in places:
        if line is not None and (place is None or not _same_line(line, place)):
            yield line
            line = None
        if place is not None:
            line = place if line is None else _around(line, place)
    if line is not None:
        yield line


def _same_line(line: Place, place: Place) -> bool:
    """Beside one another, or, in a line that runs down the page and is no wider than its characters, above one another."""
    if _overlap(line[1], line[3], place[1], place[3]):
        return True
    narrow, wide = sorted((line[2] - line[0], place[2] - place[0]))
    return wide <= _SAME_COLUMN * narrow and _overlap(line[0], line[2], place[0], place[2])


def _overlap(a0: float, a1: float, b0: float, b1: float) -> bool:
    return min(a1, b1) - max(a0, b0) >= _SAME_LINE * min(a1 - a0, b1 - b0)


def _around(a: Place, b: Place) -> Place:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])

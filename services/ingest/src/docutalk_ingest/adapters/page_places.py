"""Where a quote stands on a page that can be looked at: a page of a PDF, or an image. Runs in the parser's process only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
from docutalk_common import content_type as kinds

from docutalk_ingest.adapters.parsers.image import MEDIA_TYPES, frame_size
from docutalk_ingest.adapters.parsers.pdf import open_pdf
from docutalk_ingest.adapters.parsers.pdf_places import Place, find_quote, page_size
from docutalk_ingest.domain import ParseFailed


def places_on_page(
    path: Path, *, number: int, start: int, end: int, text: str, lines: Sequence[Sequence[float]] | None
) -> dict[str, Any]:
    """`{width, height, boxes: [[left, top, right, bottom]]}` in points, of an image in pixels, for `text[start:end]`.

    `lines` are those of a page read by OCR. `no_boxes` for a file whose pages have no places.
    """
    media_type = kinds.detect_file(path, "")
    if media_type == kinds.PDF:
        document = open_pdf(path)
        try:
            page: pdfium.PdfPage = document[number - 1]
            width, height = page_size(page)
            found = None if lines is not None else find_quote(page, start, end, text)
        finally:
            document.close()
    elif media_type in MEDIA_TYPES:
        (width, height), found = frame_size(path, number), None
    else:
        raise ParseFailed("no_boxes", "Pages of this kind of file have no places; the quote can be found in their text.")
    if found is None:
        found = [
            (left * width, top * height, right * width, bottom * height)
            for left, top, right, bottom in _in_lines(lines or [], start, end)
        ]
    return {"width": width, "height": height, "boxes": found}


def _in_lines(lines: Sequence[Sequence[float]], start: int, end: int) -> list[Place]:
    """The part of each line's box that the quote takes, as if all characters were of one width."""
    places = []
    for first, last, left, top, right, bottom in lines:
        begin, stop = max(start, int(first)), min(end, int(last))
        if begin < stop:
            # A line that runs down the page is marked as a whole.
            wide = right - left > bottom - top
            per_character = (right - left) / (last - first)
            x0, x1 = (left + (begin - first) * per_character, left + (stop - first) * per_character) if wide else (left, right)
            places.append((x0, top, x1, bottom))
    return places

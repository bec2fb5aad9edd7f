"""Pictures of pages: of a PDF by pdfium, of an image the image itself. Runs in the parser's and the OCR's processes only."""

from __future__ import annotations

import math
from pathlib import Path

from docutalk_common import content_type as kinds
from PIL import Image

from docutalk_ingest.adapters.parsers.image import MEDIA_TYPES, frame_size, load_frame
from docutalk_ingest.adapters.parsers.pdf import open_pdf
from docutalk_ingest.domain import ParseFailed

_SHORT_SIDE = 0.5
MAX_PIXELS = 6_000_000
"""Of a picture made here: a page of A3 at 150 dots per inch, and 18 MB of memory."""


def picture_of(path: Path, number: int, *, width: int | None = None, long_side: int | None = None) -> Image.Image:
    """Page `number` in RGB, `width` pixels wide, or its longer side `long_side` pixels long and its shorter one at least half of
    that; smaller where that were more than
    six million pixels, and an image never larger than it is. `no_image` for a file whose pages have no looks of their own.
    """
    media_type = kinds.detect_file(path, "")
    if media_type == kinds.PDF:
        return _pdf_page(path, number, width, long_side)
    if media_type in MEDIA_TYPES:
        return _frame(path, number, width, long_side)
    raise ParseFailed("no_image", "Pages of this kind of file have no picture; read their text.")


def _scale(size: tuple[float, float], width: int | None, long_side: int | None) -> float:
    scale = width / size[0] if width else max((long_side or 1) / max(size), _SHORT_SIDE * (long_side or 1) / min(size))
    return min(scale, math.sqrt(MAX_PIXELS / (size[0] * size[1])))


def _pdf_page(path: Path, number: int, width: int | None, long_side: int | None) -> Image.Image:
    document = open_pdf(path)
    try:
        page = document[number - 1]
        size = page.get_size()
        if min(size) <= 0:
            raise ParseFailed("no_image", "The page has no size.")
        scale = _scale(size, width, long_side)
        # pdfium rounds both sides up: a strip a thousand times as long as wide keeps a pixel.
        bitmap = page.render(scale=scale, rev_byteorder=True)
        picture: Image.Image = bitmap.to_pil().convert("RGB")
        return picture
    finally:
        document.close()


def _frame(path: Path, number: int, width: int | None, long_side: int | None) -> Image.Image:
    size = frame_size(path, number)
    scale = min(1.0, _scale(size, width, long_side))
    wanted = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    image = load_frame(path, number, at_least=wanted)
    return image if image.size == wanted else image.resize(wanted, Image.Resampling.LANCZOS, reducing_gap=2.0)

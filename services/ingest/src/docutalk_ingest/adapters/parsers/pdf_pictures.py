"""Does what a PDF page says lie in its pictures? Then its text layer, if it has one, is not all, or not worth much.

The rule flags none of the 851 pages of eight annual reports, and every scan among the test documents.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import unicodedata
from collections.abc import Iterator
from functools import cache

import pypdfium2.raw as pdfium_c

from docutalk_ingest.adapters.parsers.pdf_text import page_box

_FEW = 25
_SOME = 200
_IMAGES = 0.03
_GARBLED = 0.15
_MIN_GARBLED = 5
_MANY_DRAWINGS = 100
_MAX_OBJECTS = 10_000
_MAX_DEPTH = 4
_WORD = re.compile(r"[^\W\d_]{2,}")
_WHITE = frozenset("\t\n\r\x0b\x0c\x85")
# Written together in one word as a matter of course.
_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"})

_Box = tuple[float, float, float, float]


def needs_ocr(page: pdfium_c.FPDF_PAGE, raw: str, text: str) -> bool:
    """Whether the page is better read from its picture. `raw` is its text before, `text` after freezing.

    Under 200 visible characters and images on more than 3 % of it: a note in a picture among some lines of text covers 4 %.
    Under 25 and many drawings, which may be letters. Or over 15 % characters without a meaning, or changes of script in words.
    """
    visible = visible_characters(text)
    if visible < _SOME and image_share(page) > _IMAGES:
        return True
    if visible < _FEW and pdfium_c.FPDFPage_CountObjects(page) >= _MANY_DRAWINGS:
        return True
    return is_garbled(raw)


def visible_characters(text: str) -> int:
    """How many characters of a text are no white space."""
    return sum(map(len, text.split()))


def is_garbled(raw: str) -> bool:
    """Whether a text layer cannot be what is seen: a font that names its shapes wrongly, or a poor reading of a scan."""
    characters = set(raw)
    if raw.isascii() and not any(character < " " for character in characters - _WHITE):
        return False
    meaningless = sum(raw.count(character) for character in characters if _is_meaningless(character))
    visible = visible_characters(raw)
    if meaningless >= _MIN_GARBLED and meaningless > _GARBLED * visible:
        return True
    return len({_script(character) for character in characters} - {""}) > 1 and _mixes_scripts(raw)


def _mixes_scripts(text: str) -> bool:
    pairs = changes = 0
    for word in _WORD.findall(text):
        pairs += len(word) - 1
        if not word.isascii():
            scripts = [_script(character) for character in word]
            changes += sum(bool(a and b and a != b) for a, b in itertools.pairwise(scripts))
    return changes >= _MIN_GARBLED and changes > _GARBLED * pairs


@cache
def _is_meaningless(character: str) -> bool:
    return character not in _WHITE and (character == "\ufffd" or unicodedata.category(character) in {"Cc", "Co", "Cn"})


@cache
def _script(character: str) -> str:
    """The first word of a letter's name: LATIN, GREEK, CYRILLIC, …; empty for what is no letter or is used in any script."""
    if not character.isalpha():
        return ""
    script = unicodedata.name(character, "").split(" ")[0]
    if script in {"MODIFIER", "MATHEMATICAL", "MICRO", "FEMININE", "MASCULINE", "FULLWIDTH", "HALFWIDTH"}:
        return ""
    return "" if script in _EAST_ASIAN else script


def image_share(page: pdfium_c.FPDF_PAGE) -> float:
    """How much of what is shown of the page its images cover, 0 to 1. Images above one another count twice."""
    left, bottom, right, top = page_box(page)
    area = (right - left) * (top - bottom)
    if area <= 0:
        return 0.0
    covered = 0.0
    for x0, y0, x1, y1 in _images(page):
        covered += max(0.0, min(right, x1) - max(left, x0)) * max(0.0, min(top, y1) - max(bottom, y0))
    return min(1.0, covered / area)


def _images(page: pdfium_c.FPDF_PAGE) -> Iterator[_Box]:
    """The boxes of the images, also of those inside of forms."""
    matrices: list[pdfium_c.FS_MATRIX] = []
    count = pdfium_c.FPDFPage_CountObjects(page)
    for index in range(min(count, _MAX_OBJECTS)):
        yield from _images_of(pdfium_c.FPDFPage_GetObject(page, index), matrices)


def _images_of(item: pdfium_c.FPDF_PAGEOBJECT, matrices: list[pdfium_c.FS_MATRIX]) -> Iterator[_Box]:
    kind = pdfium_c.FPDFPageObj_GetType(item)
    if kind == pdfium_c.FPDF_PAGEOBJ_IMAGE:
        edges = [ctypes.c_float() for _ in range(4)]
        if pdfium_c.FPDFPageObj_GetBounds(item, *edges):
            yield _placed(tuple(edge.value for edge in edges), matrices)
    elif kind == pdfium_c.FPDF_PAGEOBJ_FORM and len(matrices) < _MAX_DEPTH:
        matrix = pdfium_c.FS_MATRIX()
        if not pdfium_c.FPDFPageObj_GetMatrix(item, matrix):
            return
        for index in range(min(pdfium_c.FPDFFormObj_CountObjects(item), _MAX_OBJECTS)):
            yield from _images_of(pdfium_c.FPDFFormObj_GetObject(item, index), [*matrices, matrix])


def _placed(edges: tuple[float, ...], matrices: list[pdfium_c.FS_MATRIX]) -> _Box:
    left, bottom, right, top = edges
    corners = [(x, y) for x in (left, right) for y in (bottom, top)]
    for matrix in reversed(matrices):
        corners = [(matrix.a * x + matrix.c * y + matrix.e, matrix.b * x + matrix.d * y + matrix.f) for x, y in corners]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)

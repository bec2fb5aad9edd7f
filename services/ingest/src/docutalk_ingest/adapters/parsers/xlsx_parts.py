"""What lies in the parts of a workbook beside the values: which cells are shown as percent, headers and footers, remarks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from docutalk_ingest.adapters.parsers.drawing import write_body, write_graphic
from docutalk_ingest.adapters.parsers.office_text import OfficeText
from docutalk_ingest.adapters.parsers.office_xml import Package, descendants, local, value
from docutalk_ingest.adapters.parsers.zip_limits import blocks
from docutalk_ingest.domain import ParseFailed

_BUILT_IN = {"9": "0%", "10": "0.00%"}
_MAX_STYLES = 5_000
_MAX_CELLS = 1_000_000
_MAX_DECIMALS = 15
_QUOTED = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_STYLED = rb"""<(?:\w+:)?c\s(?=[^<>]*?\bs\s*=\s*["'](%s)["'])[^<>]*?\br\s*=\s*["']([A-Za-z]{1,3})([0-9]{1,7})["']"""
_TAIL_BYTES = 64 * 1024
_HEADER = re.compile(rb"<(?:\w+:)?((?:odd|even|first)(?:Header|Footer))\b[^<>]*>([^<]+)<")
# Of a header: fields, fonts, colours and sizes; what is left is text.
_HEADER_CODE = re.compile(r'&(?:"[^"]*"|K(?:[0-9A-F]{6}|\d\d[+-]\d{3})|\d+|[A-Z&])')


def windows(package: Package, part: str) -> Iterator[bytes]:
    """The part's bytes piece by piece, never cut inside a tag."""
    carry = b""
    for block in blocks(package.archive, part):
        window = carry + block
        cut = max(window.rfind(b"<"), 0)
        carry = window[cut:]
        yield window[:cut]
    yield carry


def column_number(letters: bytes) -> int:
    """A is 1."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number


class PercentStyles:
    """The styles that show a share as percent; the values themselves do not say it."""

    def __init__(self, package: Package, part: str | None) -> None:
        self._package = package
        self._decimals: dict[bytes, int] = {}
        try:
            root = None if part is None else package.xml(part)
        except ParseFailed:
            root = None  # without styles the numbers are still numbers
        if root is not None:
            self._read(root)

    def cells(self, part: str) -> dict[int, dict[int, int]]:
        """The decimals of a sheet's cells in percent, by row and column from 0."""
        found: dict[int, dict[int, int]] = {}
        if not self._decimals:
            return found
        pattern = re.compile(_STYLED % b"|".join(self._decimals))
        count = 0
        for window in windows(self._package, part):
            for style, letters, row in pattern.findall(window):
                found.setdefault(int(row) - 1, {})[column_number(letters) - 1] = self._decimals[style]
                count += 1
            if count > _MAX_CELLS:
                break
        return found

    def _read(self, root: etree._Element) -> None:
        formats = {**_BUILT_IN, **{value(f, "numFmtId"): value(f, "formatCode") for f in descendants(root, "numFmt")}}
        for styles in descendants(root, "cellXfs"):
            for number, style in enumerate(styles):
                decimals = _percent_decimals(formats.get(value(style, "numFmtId"), ""))
                if decimals is not None and len(self._decimals) < _MAX_STYLES:
                    self._decimals[str(number).encode()] = decimals


def _percent_decimals(code: str) -> int | None:
    positive = _QUOTED.sub("", code[:200]).split(";")[0]
    if "%" not in positive:
        return None
    fraction = re.search(r"\.([0#?]+)", positive)
    return min(len(fraction[1]), _MAX_DECIMALS) if fraction else 0


def write_objects(package: Package, part: str, out: OfficeText) -> None:
    """The texts of a sheet's comments, shapes and charts, and its header and footer."""
    relations = package.relations(part)
    threads = any(relation.kind == "threadedComment" for relation in relations)
    out.write("\n")
    for relation in relations:
        if relation.kind == "threadedComment" or (relation.kind == "comments" and not threads):
            for comment in descendants(package.xml(relation.target), "comment", "threadedComment"):
                # Old comments hold runs of `t`, new ones a bare text; what a new one has as an old one is only a note about it.
                out.write("".join(text.text or "" for text in descendants(comment, "t", "text")) + "\n")
        elif relation.kind == "drawing":
            inner = package.relations(relation.target)
            for element in descendants(package.xml(relation.target), "txBody", "graphicFrame"):
                if local(element) == "txBody":
                    write_body(element, out)
                else:
                    write_graphic(element, package, inner, out)
    _write_headers(package, part, out)


def _write_headers(package: Package, part: str, out: OfficeText) -> None:
    tail = b""
    for block in blocks(package.archive, part):
        tail = (tail + block)[-_TAIL_BYTES:]
    for name, coded in dict.fromkeys(_HEADER.findall(tail)):
        # The text is XML, its codes are Excel's: `&amp;C` begins the middle.
        escaped = coded.decode("utf-8", "replace")
        for mark, sign in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&apos;", "'"), ("&amp;", "&")):
            escaped = escaped.replace(mark, sign)
        text = " ".join(_HEADER_CODE.sub(lambda code: "&" if code[0] == "&&" else " ", escaped).split())
        if text:
            start = out.length
            out.write(text + "\n")
            out.unit("header", "Header" if name.endswith(b"Header") else "Footer", start)

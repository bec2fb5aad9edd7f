"""OpenDocument texts as one page, presentations and drawings by slide, the XML walked as it lies.

Order of a text: body, footnotes and comments, headers and footers. Text that a tracked change has deleted is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutalk_common.contracts.ingest import DocumentMetadata
from lxml import etree

from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.drawing import reading_order
from docutalk_ingest.adapters.parsers.odf_package import OdfPackage
from docutalk_ingest.adapters.parsers.odf_text import OdfText
from docutalk_ingest.adapters.parsers.office_text import OfficeText, titled
from docutalk_ingest.adapters.parsers.office_xml import descendants, local, phrase, value
from docutalk_ingest.domain import MAX_PAGES, ParsedDocument, ParsedPage, ParseFailed

_HEADERS = ("header", "header-left", "header-first", "footer", "footer-left", "footer-first")
_ROW_TOLERANCE = 5.0
"""Millimetres: shapes whose tops differ by less stand beside one another."""
_UNITS = {"cm": 10.0, "mm": 1.0, "in": 25.4, "pt": 25.4 / 72, "pc": 25.4 / 6, "px": 25.4 / 96}
_LENGTH = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?)(cm|mm|in|pt|pc|px)$")
_DEEP_STYLES = 20


def read_odt(path: Path, password: str | None = None) -> ParsedDocument:
    """A text, presentation or drawing. `damaged`, `encrypted`, `wrong_password`, `too_large_unpacked`, `no_text`."""
    package = OdfPackage(path, "OpenDocument file", password)
    root = package.xml("content.xml")
    pages = [page for body in descendants(root, "presentation", "drawing") for page in body if local(page) == "page"]
    if len(pages) > MAX_PAGES:
        raise ParseFailed("too_many_pages", f"The file holds {len(pages):,} pages; {MAX_PAGES:,} are accepted. Split it.")
    if pages:
        kind = "slide" if next(descendants(root, "presentation"), None) is not None else "page"
        return ParsedDocument(_slides(package, pages, kind), len(pages), odf_metadata(package))
    page = _text(package, root)
    return ParsedDocument(iter([page]), 1, titled(odf_metadata(package), page.units))


def odf_metadata(package: OdfPackage) -> DocumentMetadata:
    """What the file says of itself; nothing of it when that part is missing or damaged."""
    try:
        values = {local(element): element.text or "" for element in descendants(package.xml("meta.xml"), "*")}
    except ParseFailed:
        return DocumentMetadata()
    return DocumentMetadata(
        title=phrase(values.get("title")),
        author=phrase(values.get("initial-creator") or values.get("creator")),
        created_at=parse_date(values.get("creation-date")),
        modified_at=parse_date(values.get("date")),
    )


def _text(package: OdfPackage, root: etree._Element) -> ParsedPage:
    out = OfficeText()
    walker = OdfText(package, out, _titles(root))
    walker.walk(root)
    out.end_headings()
    walker.write_notes()
    for part in _headers(package):
        out.begin_line()
        out.write("\n")
        start = out.length
        for paragraph in part:
            walker.walk(paragraph)
        out.unit("header", "Header" if "header" in local(part) else "Footer", start)
    text, units = out.finish()
    if not text.strip():
        raise ParseFailed("no_text", "The file holds no text. Text in its pictures cannot be read yet.")
    return ParsedPage("1", text, kind="text", units=units)


def _headers(package: OdfPackage) -> list[etree._Element]:
    """Headers and footers that differ from one another."""
    try:
        root = package.xml("styles.xml")
    except ParseFailed:
        return []
    found = {"".join(str(text) for text in part.itertext()).strip(): part for part in descendants(root, *_HEADERS)}
    return [part for text, part in found.items() if text]


def _titles(root: etree._Element) -> frozenset[str]:
    """The names of the styles that the title of a document has."""
    parents = {
        value(style, "name"): value(style, "parent-style-name")
        for style in descendants(root, "style")
        if value(style, "family") == "paragraph"
    }
    titles = {"Title"}
    for name in parents:
        above = name
        for _ in range(_DEEP_STYLES):
            above = parents.get(above, "")
            if above in titles:
                titles.add(name)
    return frozenset(titles)


def _slides(package: OdfPackage, pages: list[etree._Element], kind: str) -> Iterator[ParsedPage]:
    for number, page in enumerate(pages, start=1):
        out = OfficeText()
        _write_slide(package, page, out)
        text, units = out.finish()
        yield ParsedPage(str(number), text, kind=kind, units=units)


def _write_slide(package: OdfPackage, page: etree._Element, out: OfficeText) -> None:
    walker = OdfText(package, out)
    shapes = reading_order([(*_place(shape), shape) for shape in page], _ROW_TOLERANCE)
    titles = [shape for shape in shapes if value(shape, "class") == "title"]
    for shape in titles:
        start = out.length
        walker.walk(shape)
        out.heading(start, 1)
    for shape in shapes:
        if shape not in titles:
            walker.walk(shape)
    out.end_headings()
    walker.write_notes()
    for notes in (part for part in page if local(part) == "notes"):
        out.begin_line()
        out.write("\n")
        start = out.length
        for shape in notes:
            walker.walk(shape)
        out.unit("notes", "Notes", start)


def _place(shape: etree._Element) -> tuple[float, float]:
    """From the left and from the top in millimetres; a shape that does not say comes last."""
    left, top = (_LENGTH.match(value(shape, name)) for name in ("x", "y"))
    return _millimetres(left), _millimetres(top)


def _millimetres(length: re.Match[str] | None) -> float:
    return float(length[1]) * _UNITS[length[2]] if length else 1e9

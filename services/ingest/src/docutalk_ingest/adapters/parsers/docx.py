"""DOCX: the XML walked as it lies, because libraries' row and shape objects raise on real files.

Order of the text: body, then footnotes, endnotes and comments, then headers and footers, then charts and diagrams. Deleted
text of tracked changes is left out, inserted text is kept. Nothing outside of the file is fetched and no entity is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lxml import etree

from docutalk_ingest.adapters.parsers.docx_styles import Paragraphs
from docutalk_ingest.adapters.parsers.drawing import write_chart, write_diagram
from docutalk_ingest.adapters.parsers.office_text import OfficeText, titled
from docutalk_ingest.adapters.parsers.office_xml import Package, Relation, child, local, value
from docutalk_ingest.domain import ParsedDocument, ParsedPage, ParseFailed

_WHAT = "Word document"
# Parts that hold text of their own, in the order in which they follow the body, and what they are as units.
_FOLLOWING = {
    "footnotes": ("notes", "Footnotes"),
    "endnotes": ("notes", "Endnotes"),
    "comments": ("notes", "Comments"),
    "header": ("header", "Header"),
    "footer": ("header", "Footer"),
    "chart": None,
    "diagramData": None,
}
_SKIPPED = frozenset(
    {
        "del",
        "moveFrom",
        "pPr",
        "rPr",
        "tblPr",
        "trPr",
        "tcPr",
        "sectPr",
        "tblGrid",
        "instrText",
        "delText",
        "delInstrText",
        "rt",
        "Fallback",
    }
)
_LITERAL = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_TEXT = frozenset({"t", "v"})


def read_docx(source: Path | BinaryIO, password: str | None = None) -> ParsedDocument:
    """The whole document as one page labelled `1`: where its pages end is decided by the program that shows it.

    `damaged`, `encrypted`, `too_large_unpacked`, `no_text`.
    """
    with Package(source, _WHAT) as package:
        body = package.main_part("word/document.xml")
        relations = package.relations(body)
        out = OfficeText()
        walker = _Walker(out, Paragraphs.of(*(_part(package, relations, kind) for kind in ("styles", "numbering"))))
        walker.walk(package.xml(body))
        out.end_headings()
        readable = True
        for kind, part in _following(relations):
            readable = _write_part(package, kind, part, walker) and readable
        text, units = out.finish()
        if not text.strip():
            raise ParseFailed("no_text", "The Word document holds no text. Text in its pictures cannot be read yet.")
        page = ParsedPage("1", text, readable=readable, kind="text", units=units)
        return ParsedDocument(iter([page]), 1, titled(package.metadata(), units))


def _part(package: Package, relations: list[Relation], kind: str) -> etree._Element | None:
    """A part that says how the text is to be shown. The text does without it where it is damaged."""
    for relation in relations:
        if relation.kind == kind:
            try:
                return package.xml(relation.target)
            except ParseFailed:
                return None
    return None


def _following(relations: list[Relation]) -> list[tuple[str, str]]:
    order = list(_FOLLOWING)
    found = sorted((order.index(r.kind), r.target) for r in relations if r.kind in _FOLLOWING)
    return list(dict.fromkeys((order[index], target) for index, target in found))


def _write_part(package: Package, kind: str, part: str, walker: _Walker) -> bool:
    """False when the part is damaged: the rest of the document is still worth reading."""
    try:
        root = package.xml(part)
    except ParseFailed:
        return False
    out = walker.out
    out.begin_line()
    out.write("\n")
    start = out.length
    if kind == "chart":
        write_chart(root, out)
    elif kind == "diagramData":
        write_diagram(root, out)
    else:
        walker.walk(root)
    unit = _FOLLOWING[kind]
    if unit is not None:
        out.unit(*unit, start)
    return True


class _Walker:
    """Writes what it meets, in the order of the file."""

    def __init__(self, out: OfficeText, paragraphs: Paragraphs) -> None:
        self.out = out
        self._paragraphs = paragraphs
        self._tables = 0

    def walk(self, element: etree._Element) -> None:
        """The text of an element and of what is in it."""
        name = local(element)
        if name in _SKIPPED:
            return
        if name in _TEXT and not any(isinstance(part.tag, str) for part in element):
            # Children without a name are entities, left unexpanded; the text around them stays.
            self.out.write((element.text or "") + "".join(part.tail or "" for part in element))
        elif name in _LITERAL:
            self.out.write(_LITERAL[name])
        elif name == "textpath":
            # Old word art, such as a watermark, is an attribute.
            self.out.write(value(element, "string"))
        elif name == "p":
            self._paragraph(element)
        elif name == "tbl":
            self._table(element)
        elif name == "AlternateContent":
            self._alternative(element)
        else:
            if name == "txbxContent":
                self.out.begin_line()
            for part in element:
                self.walk(part)
            if name == "txbxContent":
                self.out.write("\n")

    def _paragraph(self, element: etree._Element) -> None:
        start = self.out.length
        properties = child(element, "pPr")
        number = self._paragraphs.number(properties)
        if number:
            self.out.write(number + " ")
        for part in element:
            self.walk(part)
        level = self._paragraphs.level(properties)
        if level:
            self.out.heading(start, level)
        self.out.write("\n")

    def _table(self, table: etree._Element) -> None:
        self.out.begin_line()
        start, columns = self.out.length, 0
        for row in _inside(table, "tr"):
            cells = list(_inside(row, "tc"))
            columns = max(columns, len(cells))
            if len(cells) == 1:
                # A frame around text rather than a row: what is in it keeps its lines and headings.
                for part in cells[0]:
                    self.walk(part)
                self.out.begin_line()
            else:
                self.out.row(self._cell(cell) for cell in cells)
        if columns > 1:
            self._tables += 1
            self.out.unit("table", f"Table {self._tables}", start)

    def _cell(self, cell: etree._Element) -> str:
        inner = _Walker(OfficeText(), self._paragraphs)
        for part in cell:
            inner.walk(part)
        return inner.out.finish()[0]

    def _alternative(self, element: etree._Element) -> None:
        """The same content twice, for new readers and for old: only one of them is text."""
        choice = child(element, "Choice")
        for content in element if choice is None else (choice,):
            for part in content:
                self.walk(part)


def _inside(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """The rows of a table or the cells of a row, also where a control or a tracked change lies around them."""
    for part in element:
        found = local(part)
        if found == name:
            yield part
        elif found not in _SKIPPED and found not in {"tbl", "p"}:
            yield from _inside(part, name)

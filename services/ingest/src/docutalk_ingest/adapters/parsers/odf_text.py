"""The text in the elements of OpenDocument, as it is shown."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from lxml import etree

from docutalk_ingest.adapters.parsers.odf_package import OdfPackage
from docutalk_ingest.adapters.parsers.office_text import OfficeText
from docutalk_ingest.adapters.parsers.office_xml import child, local, value
from docutalk_ingest.domain import ParseFailed

# Elements whose text is not shown, or not where they stand.
_SKIPPED = frozenset(
    {
        "automatic-styles",
        "bibliography-source",
        "font-face-decls",
        "forms",
        "illustration-index-source",
        "note-citation",
        "notes",
        "page-count",
        "page-number",
        "ruby-text",
        "scripts",
        "sequence-decls",
        "table-index-source",
        "table-of-content-source",
        "tracked-changes",
        "user-field-decls",
        "variable-decls",
    }
)
_DESCRIPTION = "svg-compatible:1.0}"
"""Titles and descriptions of pictures are in this namespace; fields of the same names are text."""
_ROW_GROUPS = frozenset({"table-header-rows", "table-rows", "table-row-group"})
_CELLS = frozenset({"table-cell", "covered-table-cell"})
_MAX_SPACES = 100
MAX_COLUMNS = 16_384
_BLANKS = re.compile(r"[ \t\r\n]+")


class OdfText:
    """Writes what it meets in the order of the file; notes and comments are kept until `write_notes`."""

    def __init__(self, package: OdfPackage, out: OfficeText, titles: frozenset[str] = frozenset()) -> None:
        self.out = out
        self.later: list[etree._Element] = []
        """What is to be written after the rest."""
        self._package = package
        self._titles = titles
        self._tables = 0
        self._objects: set[str] = set()

    def walk(self, element: etree._Element) -> None:
        """An element with what is in it, paragraphs as lines."""
        name = local(element)
        if name in _SKIPPED or _DESCRIPTION in str(element.tag):
            return
        if name in {"p", "h"}:
            self._paragraph(element, name)
        elif name == "table":
            self._table(element)
        elif name == "annotation":
            self.later.append(element)
        elif name == "object":
            self._object(element)
        else:
            for part in element:
                self.walk(part)

    def write_notes(self) -> None:
        """The footnotes, endnotes and comments met so far."""
        if not self.later:
            return
        self.out.begin_line()
        self.out.write("\n")
        start = self.out.length
        while self.later:
            for part in self.later.pop(0):
                # Who wrote a comment and when is no text of the document.
                if local(part) not in {"creator", "date", "creator-initials", "date-string"}:
                    self.walk(part)
        self.out.unit("notes", "Notes", start)

    def cell(self, cell: etree._Element) -> str:
        """A cell in one line, without the units in it."""
        outer, self.out = self.out, OfficeText()
        try:
            for part in cell:
                self.walk(part)
            text, _ = self.out.finish()
        finally:
            self.out = outer
        return " ".join((text or value(cell, "value")).split())

    def _paragraph(self, element: etree._Element, name: str) -> None:
        self.out.begin_line()
        start = self.out.length
        self._inline(element)
        if name == "h":
            self.out.heading(start, repeats(element, "outline-level"))
        elif value(element, "style-name") in self._titles:
            self.out.heading(start, 1)
        self.out.write("\n")

    def _inline(self, element: etree._Element) -> None:
        self.out.write(_BLANKS.sub(" ", element.text or ""))
        for part in element:
            name = local(part)
            if name == "s":
                self.out.write(" " * min(repeats(part, "c"), _MAX_SPACES))
            elif name in {"tab", "line-break"}:
                self.out.write("\t" if name == "tab" else "\n")
            elif name == "note":
                self.later += [body for body in part if local(body) == "note-body"]
            elif name in {"frame", "custom-shape", "g", "rect", "annotation"}:
                self._anchored(part)
            elif name and name not in _SKIPPED and _DESCRIPTION not in str(part.tag):
                self._inline(part)
            self.out.write(_BLANKS.sub(" ", part.tail or ""))

    def _anchored(self, shape: etree._Element) -> None:
        """A shape that hangs on a paragraph: its text stands in lines of its own, if it has any."""
        length = self.out.length
        self.walk(shape)
        if self.out.length > length:
            self.out.begin_line()

    def _table(self, table: etree._Element) -> None:
        self.out.begin_line()
        start, columns = self.out.length, 0
        for row in rows(table):
            cells = [part for part in row if local(part) in _CELLS]
            if len(cells) == 1:
                # A frame around text rather than a row: what is in it keeps its lines and headings.
                for part in cells[0]:
                    self.walk(part)
                self.out.begin_line()
            else:
                texts = self.row(row)
                columns = max(columns, len(texts))
                self.out.row(texts)
        if columns > 1:
            self._tables += 1
            self.out.unit("table", value(table, "name") or f"Table {self._tables}", start)

    def row(self, row: etree._Element) -> list[str]:
        """The texts of a row's cells; empty ones at its end are left out, and one is repeated to the last column at most."""
        texts: list[str] = []
        blank = 0
        for cell in row:
            if local(cell) in _CELLS:
                repeated = repeats(cell, "number-columns-repeated")
                text = self.cell(cell)
                if not text:
                    blank += repeated
                    continue
                if len(texts) + blank >= MAX_COLUMNS:
                    break
                texts += [""] * blank
                texts += [text] * min(repeated, MAX_COLUMNS - len(texts))
                blank = 0
        return texts

    def _object(self, element: etree._Element) -> None:
        """A chart in a file of its own: its title and its table. Each is read once, however often it is shown."""
        name = posixpath.normpath(posixpath.join(value(element, "href"), "content.xml"))
        if name in self._objects or not self._package.has(name):
            for part in element:
                self.walk(part)
            return
        self._objects.add(name)
        try:
            root = self._package.xml(name)
        except ParseFailed:
            return  # the document is read without the picture of a chart
        body = child(root, "body")
        if body is not None:
            self.walk(body)


def rows(table: etree._Element) -> Iterator[etree._Element]:
    """The rows of a table, those that head each page too."""
    for part in table:
        if local(part) == "table-row":
            yield part
        elif local(part) in _ROW_GROUPS:
            yield from rows(part)


def repeats(element: etree._Element, name: str) -> int:
    """A count that the file writes, at least 1."""
    text = value(element, name)
    return max(1, int(text)) if text.isdecimal() and len(text) < 10 else 1

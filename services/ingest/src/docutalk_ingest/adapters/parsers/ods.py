"""OpenDocument workbooks: a page for each sheet, a line for each row, the cells as they were shown when the file was saved.

Read row by row: the tree of a large sheet would not fit. A few bytes may say that a row or a cell is repeated a billion times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from docutalk_ingest.adapters.parsers.odf_package import OdfPackage
from docutalk_ingest.adapters.parsers.odf_text import OdfText, repeats
from docutalk_ingest.adapters.parsers.odt import odf_metadata
from docutalk_ingest.adapters.parsers.office_text import OfficeText
from docutalk_ingest.adapters.parsers.office_xml import local, value, xml_failure
from docutalk_ingest.adapters.parsers.xlsx import MAX_CELLS, sheet_range
from docutalk_ingest.domain import MAX_PAGES, ParsedDocument, ParsedPage, ParseFailed


def read_ods(path: Path, password: str | None = None) -> ParsedDocument:
    """The sheets in their order. `damaged`, `encrypted`, `wrong_password`, `too_large_unpacked`, `too_many_cells`."""
    package = OdfPackage(path, "OpenDocument workbook", password)
    return ParsedDocument(_sheets(package), None, odf_metadata(package))


def _sheets(package: OdfPackage) -> Iterator[ParsedPage]:
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    workbook = _Workbook(package)
    try:
        for block in package.blocks("content.xml"):
            parser.feed(block)
            for event, element in parser.read_events():
                if isinstance(element, etree._Element):
                    yield from workbook.take(str(event), element)
        parser.close()
    except etree.XMLSyntaxError as error:
        raise xml_failure(error, "content.xml", package.what) from error


class _Workbook:
    """Takes the elements as they begin and end, and forgets each row when it is written."""

    def __init__(self, package: OdfPackage) -> None:
        self._package = package
        self._depth = 0
        self._sheets = self._cells = 0
        self._sheet = _Sheet("", package)

    def take(self, event: str, element: etree._Element) -> Iterator[ParsedPage]:
        """The page of a sheet when it ends."""
        name = local(element)
        if name == "table" and event == "start":
            self._depth += 1
            if self._depth == 1:
                self._sheets += 1
                if self._sheets > MAX_PAGES:
                    raise ParseFailed("too_many_pages", f"The workbook holds more than {MAX_PAGES:,} sheets. Split it.")
                self._sheet = _Sheet(value(element, "name") or str(self._sheets), self._package)
        elif name == "table":
            self._depth -= 1
            if self._depth == 0:
                yield self._sheet.page()
                _forget(element)
        elif event == "end" and self._depth == 1 and name == "table-row":
            self._cells += self._sheet.write(element, MAX_CELLS - self._cells)
            _forget(element)
        elif event == "end" and self._depth == 1 and name == "shapes":
            self._sheet.shapes(element)


class _Sheet:
    """One sheet while it is read. Rows and columns count from 0."""

    def __init__(self, name: str, package: OdfPackage) -> None:
        self._name = name
        self._out = OfficeText()
        self._walker = OdfText(package, self._out)
        self._row = 0
        self._first: tuple[int, int] | None = None
        self._last = (0, 0)

    def write(self, row: etree._Element, left: int) -> int:
        """Writes the row as often as it is repeated; how many cells that made. `too_many_cells` if more than `left`."""
        repeated = repeats(row, "number-rows-repeated")
        cells = self._walker.row(row)
        if not cells:
            self._row += repeated
            return 0
        made = len(cells) * repeated
        if made > left:
            raise ParseFailed(
                "too_many_cells",
                f"The sheet “{self._name}” brings the workbook over {MAX_CELLS:,} cells. Delete what is repeated far from the "
                "table, or save it as CSV.",
            )
        column = next(number for number, text in enumerate(cells) if text)
        self._first = (self._row, column) if self._first is None else (self._first[0], min(self._first[1], column))
        self._last = (self._row + repeated - 1, max(self._last[1], len(cells) - 1))
        self._row += repeated
        for _ in range(repeated):
            self._out.row(cells)
        return made

    def shapes(self, element: etree._Element) -> None:
        """Shapes and charts follow the rows, as do comments."""
        self._walker.later.append(element)

    def page(self) -> ParsedPage:
        """The sheet when all of it was read."""
        if self._first is not None:
            self._out.unit("table", sheet_range(self._name, self._first, self._last), 0)
        self._walker.write_notes()
        text, units = self._out.finish()
        return ParsedPage(self._name, text, kind="sheet", units=units)


def _forget(element: etree._Element) -> None:
    element.clear()
    while element.getprevious() is not None:
        parent = element.getparent()
        if parent is None:
            return
        del parent[0]

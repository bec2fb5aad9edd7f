"""Excel workbooks (XLSX, XLSB and the old XLS): a page for each sheet, a line for each row, the cells joined by tabs.

Calamine reads the cells, into a table as large as the stretch from the first to the last one: what that would take, and how much
text the cells share, is looked at before. After the rows follow the texts of comments, shapes and charts.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import BinaryIO

import olefile
from docutalk_common.contracts.ingest import DocumentMetadata
from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from docutalk_ingest.adapters.parsers.drawing import shown_number
from docutalk_ingest.adapters.parsers.office_text import OfficeText
from docutalk_ingest.adapters.parsers.office_xml import Package, descendants, phrase, reference
from docutalk_ingest.adapters.parsers.xlsx_parts import PercentStyles, column_number, windows, write_objects
from docutalk_ingest.adapters.parsers.zip_limits import read_entry, verify_sizes
from docutalk_ingest.domain import MAX_CHARACTERS, MAX_PAGES, ParsedDocument, ParsedPage, ParseFailed, TooMuchText

MAX_CELLS = 5_000_000
"""Cells with content of one workbook."""
MAX_AREA = 20_000_000
"""Cells of one sheet from its first to its last one, empty ones too: 24 bytes each in memory."""
_WHAT = "Excel workbook"
_CELL = re.compile(rb"""<(?:\w+:)?c\s[^<>]*?\br\s*=\s*["']([A-Za-z]{1,3})([0-9]{1,7})["'][^<>]*?(/?)>""")
_UNPLACED = re.compile(rb"""<(?:\w+:)?c(?![\w:.-])(?![^<>]*\br\s*=)""")
_ROW_OR_CELL = re.compile(rb"""<(?:\w+:)?(row|c)(?![\w:.-])([^<>]*?)(/?)>""")
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,3})([0-9]{1,7})["']""")
_SHARED_CELL = re.compile(
    rb"""<(?:\w+:)?c\s[^<>]*?\bt=["']s["'][^<>]*>\s*(?:<(?:\w+:)?f\b[^<>]*/>\s*)?<(?:\w+:)?v>([0-9]{1,10})<"""
)
_SHARED_MARK = re.compile(rb"""\bt=["']s["']""")
_STRING = re.compile(rb"<(?:\w+:)?si[\s/>]")
_UTF8 = 65001
_NO_YEAR = 1601
"""An OLE file writes the beginning of its calendar when it knows no date."""
_EXACT = 1e10
_LAST_YEAR = 9999
_HALF_SECOND = 500_000
_SHARED_TEXT = 10 * MAX_CHARACTERS
"""Bytes that strings may take when each cell gets a copy of its own."""


@dataclass(frozen=True)
class _Extras:
    """What a workbook of XML holds beside its values; `parts` are its sheets by name."""

    package: Package
    parts: dict[str, str]
    percents: PercentStyles


_Cell = int | float | str | bool | time | date | datetime | timedelta


def read_xlsx(source: Path | BinaryIO, password: str | None = None) -> ParsedDocument:
    """The sheets in their order, hidden ones too. `damaged`, `encrypted`, `too_large_unpacked`, `too_many_cells`."""
    package = Package(source, _WHAT)
    main = package.main_part("xl/workbook.xml")
    verify_sizes(package.archive, (name for name in package.archive.namelist() if name.startswith("xl/") and _is_text(name)))
    parts: dict[str, str] = {}
    relations = package.relations(main)
    if main.endswith(".xml"):
        targets = {relation.id: relation.target for relation in relations}
        for sheet in descendants(package.xml(main), "sheet"):
            if reference(sheet) in targets:
                parts[str(sheet.get("name", ""))] = targets[reference(sheet)]
        # All that are there, whichever of them the library takes for a sheet.
        sheets = dict.fromkeys([*parts.values(), *(relation.target for relation in relations if relation.kind == "worksheet")])
        _measure(package, list(sheets), [relation.target for relation in relations if relation.kind == "sharedStrings"])
    styles = next((relation.target for relation in relations if relation.kind == "styles"), None)
    extras = _Extras(package, parts, PercentStyles(package, styles if main.endswith(".xml") else None))
    return _document(_opened(source), package.metadata(), extras)


def read_xls(source: Path | BinaryIO, password: str | None = None) -> ParsedDocument:
    """As `read_xlsx`. `damaged`, `encrypted`."""
    return _document(_opened(source), _old_metadata(source), None)


def _is_text(name: str) -> bool:
    return name.endswith((".xml", ".rels", ".bin")) and not name.startswith(("xl/media/", "xl/embeddings/"))


def _opened(source: Path | BinaryIO) -> CalamineWorkbook:
    try:
        if isinstance(source, Path):
            return CalamineWorkbook.from_path(source)
        source.seek(0)
        return CalamineWorkbook.from_filelike(source)
    except PasswordError as error:
        raise ParseFailed(
            "encrypted", f"The {_WHAT} is protected by a password. Retry the document with its password."
        ) from error
    except BaseException as error:
        raise _failure(error) from error


def _failure(error: BaseException) -> BaseException:
    """What a failure of the reader means. A panic in Rust is no `Exception` and would end the process without a word."""
    if isinstance(error, (CalamineError, OSError, ValueError)) or type(error).__name__ == "PanicException":
        return ParseFailed("damaged", f"The {_WHAT} is damaged and cannot be read. Save it again and upload that.")
    return error


def _document(workbook: CalamineWorkbook, metadata: DocumentMetadata, extras: _Extras | None) -> ParsedDocument:
    names = workbook.sheet_names
    if len(names) > MAX_PAGES:
        raise ParseFailed("too_many_pages", f"The {_WHAT} holds {len(names):,} sheets; {MAX_PAGES:,} are accepted. Split it.")
    return ParsedDocument(_pages(workbook, extras), len(names), metadata)


def _pages(workbook: CalamineWorkbook, extras: _Extras | None) -> Iterator[ParsedPage]:
    failure: ParseFailed | None = None
    readable = 0
    for index, name in enumerate(workbook.sheet_names):
        out = OfficeText()
        damaged = None
        try:
            part = extras.parts.get(name) if extras else None
            percents = extras.percents.cells(part) if extras and part else {}
            _write_rows(workbook, index, name, percents, out)
            if extras and part:
                write_objects(extras.package, part, out)
        except ParseFailed as error:
            if error.code != "damaged":
                raise
            failure = damaged = error
        text, units = out.finish()
        readable += damaged is None or bool(text)
        yield ParsedPage(name, text, readable=damaged is None, kind="sheet", units=units)
    if failure is not None and not readable:
        raise failure


def _write_rows(workbook: CalamineWorkbook, index: int, name: str, percents: dict[int, dict[int, int]], out: OfficeText) -> None:
    try:
        sheet = workbook.get_sheet_by_index(index)
        rows = sheet.iter_rows()
    except BaseException as error:
        raise _failure(error) from error
    if sheet.start is None or sheet.end is None:
        return
    start, left = out.length, sheet.start[1]
    for number, row in enumerate(rows):
        decimals = percents.get(number)
        if decimals is None:
            out.row(map(_shown, row))
        else:
            out.row(_shown(cell, decimals.get(column)) for column, cell in enumerate(row, start=left))
    out.unit("table", sheet_range(name, sheet.start, sheet.end), start)


def _shown(value: _Cell, percent_decimals: int | None = None) -> str:
    """A cell as people read it; other formats than percent, a currency say, are not known here."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if percent_decimals is not None and isinstance(value, (int, float)) and abs(value) < _EXACT:
        # As a table does, and people: 12.5 is 13 where no decimals are shown.
        share = (100 * Decimal(repr(value))).quantize(Decimal(1).scaleb(-percent_decimals), ROUND_HALF_UP)
        return f"{share:f}%"
    if isinstance(value, float):
        return shown_number(value)
    if isinstance(value, datetime):
        if value.microsecond >= _HALF_SECOND and value.year < _LAST_YEAR:
            value += timedelta(seconds=1)
        return value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")
    if isinstance(value, time):
        return value.strftime("%H:%M:%S").removesuffix(":00")
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
        return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(value)


def sheet_range(name: str, start: tuple[int, int], end: tuple[int, int]) -> str:
    """A stretch of cells as Excel writes it; rows and columns count from 0."""
    quoted = name if re.fullmatch(r"\w+", name) else "'" + name.replace("'", "''") + "'"
    return f"{quoted}!{_address(*start)}:{_address(*end)}"


def _address(row: int, column: int) -> str:
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{row + 1}"


def _measure(package: Package, sheets: list[str], strings: list[str]) -> None:
    """Refuses what would take more memory than there is: a lone cell far away, a long text that many cells share."""
    total = shared = 0
    for part in sheets:
        cells, area, marks = _extent(package, part)
        total += cells
        shared += marks
        if area > MAX_AREA or total > MAX_CELLS:
            raise ParseFailed(
                "too_many_cells",
                f"A sheet ({part}) reaches over {area:,} cells, of which {cells:,} hold something; {MAX_AREA:,} in a sheet and "
                f"{MAX_CELLS:,} with content are accepted. Delete stray cells far from the table, or save it as CSV.",
            )
    for part in strings[:1]:
        sizes = _string_sizes(package, part)
        if max(sizes, default=0) * shared > _SHARED_TEXT and _shared_text(package, sheets, sizes) > _SHARED_TEXT:
            raise TooMuchText(f"cells with more than {_SHARED_TEXT:,} characters together")


def _extent(package: Package, part: str) -> tuple[int, int, int]:
    """Of a sheet: cells with content, cells from the first to the last of them, and how many take a shared string."""
    cells = shared = 0
    rows: set[int] = set()
    columns: set[int] = set()
    for window in windows(package, part):
        if _UNPLACED.search(window):
            return _extent_in_order(package, part)
        shared += len(_SHARED_MARK.findall(window))
        found = [(letters, digits) for letters, digits, empty in _CELL.findall(window) if not empty]
        cells += len(found)
        rows.update(map(int, {digits for _, digits in found}))
        columns.update(map(column_number, {letters for letters, _ in found}))
    return cells, _area(rows, columns), shared


def _extent_in_order(package: Package, part: str) -> tuple[int, int, int]:
    """As `_extent`, where cells do not say their place and count from the one before. Slower by half."""
    cells = shared = row = column = 0
    rows: set[int] = set()
    columns: set[int] = set()
    for window in windows(package, part):
        shared += len(_SHARED_MARK.findall(window))
        for name, attributes, empty in _ROW_OR_CELL.findall(window):
            place = _PLACE.search(attributes)
            if name == b"row":
                row, column = int(place[2]) if place else row + 1, 0
                continue
            row, column = (int(place[2]), column_number(place[1])) if place else (row, column + 1)
            if not empty:
                cells += 1
                rows.add(row)
                columns.add(column)
    return cells, _area(rows, columns), shared


def _area(rows: set[int], columns: set[int]) -> int:
    return (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1) if rows else 0


def _string_sizes(package: Package, part: str) -> list[int]:
    """How long the shared strings are, in bytes with their marks."""
    places: list[int] = []
    before = 0
    for window in windows(package, part):
        places += (before + found.start() for found in _STRING.finditer(window))
        before += len(window)
    return [following - place for place, following in itertools.pairwise([*places, before])]


def _shared_text(package: Package, parts: list[str], sizes: list[int]) -> int:
    """What the strings take when each cell gets a copy, in bytes."""
    counts = Counter(number for part in parts for number in _SHARED_CELL.findall(read_entry(package.archive, part)))
    return sum(sizes[int(number)] * count for number, count in counts.items() if int(number) < len(sizes))


def _old_metadata(source: Path | BinaryIO) -> DocumentMetadata:
    if not isinstance(source, Path):
        source.seek(0)
    try:
        with olefile.OleFileIO(source) as ole:
            found = ole.get_metadata()
        return DocumentMetadata(
            title=phrase(_decoded(found.title, found.codepage)),
            author=phrase(_decoded(found.author, found.codepage)),
            created_at=_utc(found.create_time),
            modified_at=_utc(found.last_saved_time),
        )
    except (OSError, ValueError, TypeError, AttributeError, IndexError, LookupError, struct.error):
        return DocumentMetadata()  # what a workbook says of itself is no reason to refuse it


def _decoded(text: bytes | str | None, codepage: int | None) -> str | None:
    if not isinstance(text, bytes):
        return text
    encoding = "utf-8" if codepage == _UTF8 else f"cp{codepage or 1252}"
    return text.decode(encoding, "replace")


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) and moment.year > _NO_YEAR else None

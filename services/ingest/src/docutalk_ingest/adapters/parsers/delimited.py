"""CSV and its relatives: a row becomes a line, its cells joined by tabs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from docutalk_ingest.adapters.parsers.page_text import PageText
from docutalk_ingest.adapters.parsers.text import decode_file, read_text
from docutalk_ingest.domain import MAX_CHARACTERS, ParsedDocument

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_CHARACTERS = 64 * 1024
_SAMPLE_ROWS = 100
_REGULAR = 0.5
_MAX_CELL_LINES = 200
"""A cell with more lines comes from a quote that is never closed: such a file is read without quotes."""


def read_delimited(path: Path, password: str | None = None) -> ParsedDocument:
    """The rows as one page, each row a unit while they are at most 5,000. Delimiter and quotes are told from the beginning."""
    text = decode_file(path)
    csv.field_size_limit(MAX_CHARACTERS)
    delimiter = _delimiter(text[:_SAMPLE_CHARACTERS])
    if delimiter is None:
        return read_text(path)
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        page = _page(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting))
        if page is not None and page.length:
            return ParsedDocument(iter([page.page()]), page_count=1)
    return read_text(path)


def _page(rows: Iterator[list[str]]) -> PageText | None:
    """None when the rows cannot be told with these quotes."""
    page = PageText()
    try:
        for number, row in enumerate(rows, start=1):
            if any(cell.count("\n") > _MAX_CELL_LINES for cell in row):
                return None
            line = "\t".join(" ".join(cell.split()) for cell in row).rstrip("\t")
            if not line:
                continue
            start = page.length
            page.add(line)
            page.unit("row", f"Row {number}", start)
            page.add("\n")
    except csv.Error:
        return None
    return page


def _delimiter(sample: str) -> str | None:
    """The one that gives most rows the same number of cells, more than one; None when none does so for half of the rows."""
    best, best_score = None, 0.0
    for delimiter in _DELIMITERS:
        try:
            rows = list(islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), _SAMPLE_ROWS))
        except csv.Error:
            continue
        widths = Counter(len(row) for row in rows if row)
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        share = count / max(widths.total(), 1)
        # Of two that fit as well, the one with more columns: `1,5;2,5` is two numbers.
        score = share * (2 - 1 / width) if width > 1 else 0.0
        if share >= _REGULAR and score > best_score:
            best, best_score = delimiter, score
    return best

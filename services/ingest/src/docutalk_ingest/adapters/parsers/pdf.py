"""PDF by pdfium. Not thread-safe: one process, one document."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from docutalk_common.contracts.ingest import DocumentMetadata

from docutalk_ingest.adapters.parsers.pdf_pictures import needs_ocr
from docutalk_ingest.adapters.parsers.pdf_text import page_text
from docutalk_ingest.domain import MAX_PAGES, ParsedDocument, ParsedPage, ParseFailed, UnitSpan, freeze

_WINDOW = 1 << 20
_READ_TOGETHER = 64 << 20
"""Bytes of a file whose pages are read before it is opened anew."""
_MAX_UNLOCKED = 1 << 30
_MAX_BOOKMARKS = 5_000
_MAX_TITLE = 500
_MAX_UNSEEN = 10
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?)?")
_SPACE = re.compile(r"\s+")


def read_pdf(path: Path, password: str | None = None) -> ParsedDocument:
    """The pages of a PDF with their labels, its bookmarks as headings. `encrypted`, `wrong_password`, `damaged`,
    `too_many_pages`.
    """
    document = open_pdf(path, password)
    count = len(document)
    if count == 0:
        raise ParseFailed("damaged", "The PDF holds no page that can be read. Save it again from a PDF reader and upload that.")
    if count > MAX_PAGES:
        raise ParseFailed("too_many_pages", f"The PDF has {count:,} pages; {MAX_PAGES:,} are supported. Split it.")
    metadata, bookmarks = _metadata(document), _bookmarks(document)
    # pdfium keeps every stream it has read until the document is closed: the images of a file of 2 GB took all memory.
    together = max(1, count * _READ_TOGETHER // max(1, path.stat().st_size))
    pages = _pages(document, lambda: pdfium.PdfDocument(path, password=password), range(0, count, together), bookmarks)
    return ParsedDocument(pages=pages, page_count=count, metadata=metadata)


def open_pdf(path: Path, password: str | None = None) -> pdfium.PdfDocument:
    """The document, read from the file as it is needed. `encrypted`, `wrong_password`, `damaged`."""
    try:
        document = pdfium.PdfDocument(path, password=password)
    except pdfium.PdfiumError as error:
        # Asked at once: the code lasts until the next call into pdfium.
        code = getattr(error, "err_code", None) or pdfium_c.FPDF_GetLastError()
        # Also said of files whose page tree cannot be unpacked; only a protected one names its encryption.
        if code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY} and _mentions(path, b"/Encrypt"):
            raise _protected(password) from error
        if _is_cut_off(path):
            raise _cut_off() from error
        raise ParseFailed(
            "damaged", "The PDF is damaged and cannot be opened. Save it again from the program that made it and upload that."
        ) from error
    if _is_cut_off(path):
        document.close()
        raise _cut_off()
    return document


def save_unlocked(path: Path, password: str, copy: Path) -> bool:
    """Writes a PDF that this password opens without its protection. False when it has none, or is of more than 1 GiB: all of it
    is in memory meanwhile.
    """
    if path.stat().st_size > _MAX_UNLOCKED:
        return False
    document = open_pdf(path, password)
    try:
        if pdfium_c.FPDF_GetSecurityHandlerRevision(document) < 0:
            return False
        document.save(copy, flags=pdfium_c.FPDF_REMOVE_SECURITY)
    finally:
        document.close()
    return True


def _protected(password: str | None) -> ParseFailed:
    if password is None:
        return ParseFailed("encrypted", "The PDF is protected by a password. Retry the document with its password.")
    return ParseFailed("wrong_password", "The password does not open the PDF. Retry the document with the right one.")


def _cut_off() -> ParseFailed:
    return ParseFailed(
        "damaged", "The PDF is incomplete: its end is missing, perhaps an interrupted download. Fetch it again and upload that."
    )


def _is_cut_off(path: Path) -> bool:
    """Whether the file ends in the middle. pdfium repairs such a file and would silently give some of its pages."""
    end = _rfind(path, (b"%%EOF", b"startxref"))
    # After the last end mark there may be junk, but no further objects: those belong to a part whose end is missing.
    return _find(path, b" obj", end) >= 0


def _mentions(path: Path, word: bytes) -> bool:
    return _find(path, word, 0) >= 0


def _find(path: Path, word: bytes, start: int) -> int:
    """Where a word stands at or after `start`, or -1. By windows: a file of 2 GB has no place in the memory of a parser."""
    with path.open("rb") as file:
        file.seek(start)
        window = b""
        while block := file.read(_WINDOW):
            window = window[-(len(word) - 1) :] + block
            found = window.find(word)
            if found >= 0:
                return file.tell() - len(window) + found
    return -1


def _rfind(path: Path, words: tuple[bytes, ...]) -> int:
    """Where the last of the words stands, from the file's end; 0 when none does."""
    overlap = max(len(word) for word in words)
    with path.open("rb") as file:
        start = path.stat().st_size
        while start > 0:
            end = start
            start = max(0, end - _WINDOW)
            file.seek(start)
            window = file.read(end - start + overlap)
            found = max(window.rfind(word) for word in words)
            if found >= 0:
                return start + found
    return 0


def _pages(
    document: pdfium.PdfDocument,
    reopen: Callable[[], pdfium.PdfDocument],
    openings: range,
    bookmarks: dict[int, list[tuple[str, int]]],
) -> Iterator[ParsedPage]:
    """As many as `openings` end with; at each of its steps the document is opened anew."""
    any_readable = False
    for index in range(openings.stop):
        if index and index in openings:
            document.close()
            document = reopen()
        label = freeze(document.get_page_label(index)).strip() or str(index + 1)
        page = pdfium_c.FPDF_LoadPage(document, index)
        if not page:
            yield ParsedPage(label, "", readable=False)
            continue
        any_readable = True
        try:
            raw = page_text(page)
            text = freeze(raw)
            headings = place_headings(bookmarks.get(index, []), text)
            yield ParsedPage(label, text, units=headings, needs_ocr=needs_ocr(page, raw, text))
        finally:
            pdfium_c.FPDF_ClosePage(page)
    document.close()
    if not any_readable:
        raise ParseFailed("damaged", "None of the PDF's pages can be read. Save it again from a PDF reader and upload that.")


# Bookmarks -------------------------------------------------------------------------------------------------------


def _bookmarks(document: pdfium.PdfDocument) -> dict[int, list[tuple[str, int]]]:
    """Title and level of the bookmarks that lead to each page, in their order."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    # What hangs together badly is left out from there on: the text is what counts.
    with contextlib.suppress(pdfium.PdfiumError, ValueError, RecursionError):
        for number, bookmark in enumerate(document.get_toc(max_depth=9)):
            if number >= _MAX_BOOKMARKS:
                break
            destination = bookmark.get_dest()
            index = destination.get_index() if destination else None
            title = _SPACE.sub(" ", freeze(bookmark.get_title())).strip()[:_MAX_TITLE]
            if index is not None and title:
                found[index].append((title, bookmark.level + 1))
    return found


def place_headings(titles: list[tuple[str, int]], text: str) -> list[UnitSpan]:
    """Headings of a page where its text has their words, else where the one before stands; each reaches to the next of its
    level or above, or to the end of the page.

    Of many that are not there none is kept: a page taken out of a book brings the bookmarks of all of it.
    """
    kept: list[tuple[str, int]] = []
    starts: list[int] = []
    for title, level in titles:
        words = r"\s+".join(re.escape(word) for word in title.split())
        after = starts[-1] if starts else 0
        match = re.compile(words, re.IGNORECASE).search(text, after)
        if match or len(titles) <= _MAX_UNSEEN:
            kept.append((title, level))
            starts.append(match.start() if match else after)
    titles = kept
    spans = []
    for number, ((title, level), start) in enumerate(zip(titles, starts, strict=True)):
        following = (starts[later] for later in range(number + 1, len(titles)) if titles[later][1] <= level)
        spans.append(UnitSpan("heading", title, start, next(following, len(text)), level))
    return spans


# Metadata --------------------------------------------------------------------------------------------------------


def _metadata(document: pdfium.PdfDocument) -> DocumentMetadata:
    def value(key: str) -> str | None:
        with contextlib.suppress(pdfium.PdfiumError, ValueError):
            return _SPACE.sub(" ", freeze(document.get_metadata_value(key))).strip()[:_MAX_TITLE] or None
        return None

    return DocumentMetadata(
        title=value("Title"),
        author=value("Author"),
        created_at=parse_date(value("CreationDate")),
        modified_at=parse_date(value("ModDate")),
    )


def parse_date(text: str | None) -> datetime | None:
    """A date as PDF writes it (`D:20240131120000+01'00'`, ISO 32000 7.9.4); without a zone it is taken for UTC."""
    match = _DATE.match(text or "")
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
    ahead = timedelta(hours=int(match[9]), minutes=int(match[10] or 0)) if match[8] else timedelta()
    try:
        zone = timezone(-ahead if match[8] == "-" else ahead)
        return datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=zone)
    except ValueError:
        return None

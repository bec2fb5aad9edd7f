"""Files of every common format with the same kind of text, made from a number: no two are alike, none is a duplicate."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from email.message import EmailMessage

import docx
import pptx
import xlsxwriter
from docutalk_common.testing.pdf import make_pdf

PAGES = 6
"""In the formats that have pages; in the others the same amount of text is one page."""
_VERBS = ("replaced", "inspected", "sold", "painted", "measured", "forgotten", "insured", "repaired")
_THINGS = ("pump", "valve", "crane", "ferry", "bridge", "orchard", "archive", "lighthouse")


def sentence(number: int, page: int, line: int) -> str:
    """About 100 characters that nobody wrote before."""
    thing, verb = _THINGS[(number + line) % 8], _VERBS[(page + line * 3) % 8]
    return (
        f"The {thing} number {number * 97 + line} of harbour {page + 1} was {verb} in the year {1900 + (number + line) % 99} for"
        f" {number * 31 + page * 7 + line} crowns."
    )


def _lines(number: int, page: int) -> list[str]:
    return [sentence(number, page, line) for line in range(14)]


def _txt(number: int) -> bytes:
    return "\n\n".join("\n".join(_lines(number, page)) for page in range(PAGES)).encode()


def _md(number: int) -> bytes:
    return "\n\n".join(f"## Harbour {page + 1}\n\n" + " ".join(_lines(number, page)) for page in range(PAGES)).encode()


def _html(number: int) -> bytes:
    parts = [f"<h2>Harbour {page + 1}</h2><p>{' '.join(_lines(number, page))}</p>" for page in range(PAGES)]
    menu = "<nav><a href='/'>Home</a></nav>"
    return (
        f"<html><head><title>Report {number}</title></head><body>{menu}<article>{''.join(parts)}</article></body></html>".encode()
    )


def _docx(number: int) -> bytes:
    document = docx.Document()
    for page in range(PAGES):
        document.add_heading(f"Harbour {page + 1}", 2)
        for line in _lines(number, page):
            document.add_paragraph(line)
    return _saved(document.save)


def _pptx(number: int) -> bytes:
    deck = pptx.Presentation()
    for page in range(PAGES):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Harbour {page + 1}"
        slide.placeholders[1].text = "\n".join(_lines(number, page))
    return _saved(deck.save)


def _xlsx(number: int) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as workbook:
        for page in range(PAGES):
            sheet = workbook.add_worksheet(f"Harbour {page + 1}")
            for line, text in enumerate(_lines(number, page)):
                sheet.write_row(line, 0, [number * 97 + line, text, 1900 + line])
    return buffer.getvalue()


def _csv(number: int) -> bytes:
    rows = [f'{number},{page},"{line}"' for page in range(PAGES) for line in _lines(number, page)]
    return "\n".join(["report,harbour,what happened", *rows]).encode()


def _eml(number: int) -> bytes:
    message = EmailMessage()
    message["Subject"] = f"Report {number}"
    message["From"] = "harbour@example.com"
    message["To"] = "archive@example.com"
    message["Date"] = "Fri, 02 Jan 2026 10:00:00 +0000"
    message.set_content(_txt(number).decode())
    return message.as_bytes()


def _epub(number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        )
        items = [f'<item id="c{page}" href="c{page}.xhtml" media-type="application/xhtml+xml"/>' for page in range(PAGES)]
        spine = [f'<itemref idref="c{page}"/>' for page in range(PAGES)]
        book.writestr(
            "book.opf",
            '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f'<dc:identifier id="id">report-{number}</dc:identifier><dc:title>Report {number}</dc:title></metadata>'
            f"<manifest>{''.join(items)}</manifest><spine>{''.join(spine)}</spine></package>",
        )
        for page in range(PAGES):
            paragraphs = "".join(f"<p>{line}</p>" for line in _lines(number, page))
            book.writestr(
                f"c{page}.xhtml",
                f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Harbour</title></head><body><h1>Harbour {page + 1}</h1>'
                f"{paragraphs}</body></html>",
            )
    return buffer.getvalue()


def _pdf(number: int) -> bytes:
    return make_pdf(["\n".join(_lines(number, page)) for page in range(PAGES)])


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[int], bytes]] = {
    "txt": _txt,
    "md": _md,
    "html": _html,
    "csv": _csv,
    "eml": _eml,
    "docx": _docx,
    "pptx": _pptx,
    "xlsx": _xlsx,
    "epub": _epub,
    "pdf": _pdf,
}
"""The bytes of file number n, by suffix."""

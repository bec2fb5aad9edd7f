"""What a file is: its content decides, its name only among kinds of text."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from docutalk_common import content_type as kinds
from docutalk_common.content_type import detect, detect_file, text_encoding
from hypothesis import given
from hypothesis import strategies as st

OLE = bytes.fromhex("d0cf11e0a1b11ae1")


def archive(*names: str, mimetype: str = "") -> bytes:
    """A ZIP file with entries of these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        if mimetype:
            made.writestr("mimetype", mimetype)
        for name in names:
            made.writestr(name, "x" * 50)
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"%PDF-1.4\n%...", kinds.PDF),
        (b"\xef\xbb\xbf%PDF-1.4", kinds.PDF),
        (b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4\n1 0 obj\n<<>>", kinds.PDF),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0..JFIF", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"II*\x00....", "image/tiff"),
        (b"MM\x00*....", "image/tiff"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x18ftypheic....", "image/heic"),
        (b"BM" + (70).to_bytes(4, "little") + bytes(4) + b"\x36\0\0\0" + b"\x28\0\0\0" + bytes(50), kinds.BMP),
        (b"{\\rtf1\\ansi hello}", kinds.RTF),
        (b"\x1f\x8b\x08\x00....", "application/gzip"),
        (archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"), kinds.DOCX),
        (archive("[Content_Types].xml", "xl/workbook.xml"), kinds.XLSX),
        (archive("[Content_Types].xml", "ppt/presentation.xml"), kinds.PPTX),
        (archive("[Content_Types].xml", "xl/workbook.bin"), kinds.XLSB),
        (archive("content.xml", mimetype="application/vnd.oasis.opendocument.spreadsheet"), kinds.ODS),
        (archive("content.xml", mimetype="application/vnd.oasis.opendocument.text"), kinds.ODT),
        (archive("META-INF/container.xml", mimetype="application/epub+zip"), kinds.EPUB),
        (archive("holiday.jpg"), kinds.ZIP),
        (OLE + bytes(504) + "WordDocument".encode("utf-16-le"), kinds.DOC),
        (OLE + bytes(504) + "Workbook".encode("utf-16-le"), kinds.XLS),
        (b"<!DOCTYPE html><title>x</title>", kinds.HTML),
        (b"<?xml version='1.0'?>\n<!-- a -->\n<html xmlns='x'>", kinds.HTML),
        ("<html><body>grüß</body></html>".encode("utf-16"), kinds.HTML),
        (b'{"a": [1, 2], "b": null}', kinds.JSON),
        (b"[1, 2, 3]", kinds.JSON),
        (b'{"a": 1}\n{"a": 2}\n', kinds.JSONL),
        (b"[" + b'{"a": "long"},' * 10_000, kinds.JSON),
        (b"Return-Path: <a@example.com>\r\nReceived: from b\r\n by c\r\nSubject: x\r\n\r\nbody", kinds.EMAIL),
        (b"From: a@example.com\nTo: b@example.com\nDate: Fri, 16 Dec 2022 17:04:16 -0500\n\nbody", kinds.EMAIL),
        (b"", kinds.UNKNOWN),
        (bytes(range(256)), kinds.UNKNOWN),
        (b"[\x00]", kinds.UNKNOWN),
    ],
)
@pytest.mark.parametrize("filename", ["file", "letter.txt", "picture.jpg"])
def test_content_decides_whatever_the_name_says(head: bytes, expected: str, filename: str) -> None:
    assert detect(head, filename) == expected


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("notes.md", kinds.MARKDOWN),
        ("NOTES.MARKDOWN", kinds.MARKDOWN),
        ("table.csv", kinds.CSV),
        ("part.html", kinds.HTML),
        ("mail.eml", kinds.EMAIL),
        ("data.json", kinds.JSON),
        ("data.jsonl", kinds.JSONL),
        ("table.tsv", kinds.TSV),
        ("log.txt", kinds.PLAIN),
        ("scan.pdf", kinds.PLAIN),
        ("README", kinds.PLAIN),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32-be", "cp1252"])
def test_name_decides_among_kinds_of_text(filename: str, expected: str, encoding: str) -> None:
    assert detect("Die Fähre fährt.".encode(encoding), filename) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[1] Smith, On boats, 1999.",
        "{name} is a placeholder.",
        "From: the old harbour\nwe sailed on.",
        "Note: this is a note.\nTo: do",
        "BMW builds cars, and boats.",
    ],
)
def test_text_that_begins_like_another_kind_is_text(text: str) -> None:
    assert detect(text.encode(), "notes.txt") == kinds.PLAIN


@pytest.mark.parametrize(
    ("filename", "expected"), [("a.docx", kinds.DOCX), ("a.xlsm", kinds.XLSX), ("a.pptx", kinds.PPTX), ("a.bin", kinds.OLE)]
)
def test_protected_office_file_is_told_by_its_name(tmp_path: Path, filename: str, expected: str) -> None:
    """Its directory may lie anywhere in the file."""
    header = OLE + bytes(22) + (9).to_bytes(2, "little") + bytes(16) + (400).to_bytes(4, "little")
    path = tmp_path / "file"
    path.write_bytes(header.ljust(401 * 512, b"\0") + "EncryptedPackage".encode("utf-16-le").ljust(512, b"\0"))
    assert detect_file(path, filename) == expected


def test_old_document_with_another_embedded_is_told_by_its_name() -> None:
    both = OLE + bytes(504) + "WordDocument".encode("utf-16-le") + bytes(40) + "Workbook".encode("utf-16-le")
    assert [detect(both, name) for name in ("a.doc", "a.xls", "a")] == [kinds.DOC, kinds.XLS, kinds.DOC]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_spaces(encoding: str) -> None:
    assert text_encoding("Все люди рождаются свободными".encode(encoding)) == encoding


def test_stray_control_character_leaves_a_text_a_text() -> None:
    assert detect(b"A line of a log.\n" * 20 + b"\x00", "a.log") == kinds.PLAIN


def test_text_that_speaks_of_pdf_is_text() -> None:
    assert detect(b"A file that begins with %PDF-1.4 is a PDF.", "formats.txt") == kinds.PLAIN


def test_head_may_end_inside_a_character() -> None:
    text = "ä" * kinds.HEAD_BYTES
    assert detect(text.encode()[: kinds.HEAD_BYTES - 1], "a.txt") == kinds.PLAIN


def test_office_file_whose_kind_shows_late_is_told_by_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "late"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("customXml/item1.xml", b"\x01" * (kinds.HEAD_BYTES * 2))
        made.writestr("word/document.xml", b"")
    assert detect(path.read_bytes()[: kinds.HEAD_BYTES], "a.docx") == kinds.ZIP
    assert detect_file(path, "a.docx") == kinds.DOCX


@given(head=st.binary(max_size=300), filename=st.text(max_size=20))
def test_any_bytes_have_an_answer(head: bytes, filename: str) -> None:
    assert "/" in detect(head, filename)


@given(text=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=8))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_encoding_of_a_western_text_is_told(text: str, encoding: str) -> None:
    found = text_encoding(text.encode(encoding))
    assert found is not None
    assert text.encode(encoding).decode(found).removeprefix("\ufeff") == text

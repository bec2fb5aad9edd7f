"""What a file is, decided by what lies in it. The name only decides among kinds of text.

Uploads are often mislabelled: a JPEG named `.pdf`, a page of HTML named `.doc`. The gateway asks this about the first bytes of an
upload, ingest asks it again about the whole file before it parses.
"""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import Path, PurePosixPath

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
EPUB = "application/epub+zip"
ZIP = "application/zip"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
PPT = "application/vnd.ms-powerpoint"
OLE = "application/x-ole-storage"
RTF = "application/rtf"
HTML = "text/html"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
EMAIL = "message/rfc822"
PLAIN = "text/plain"
UNKNOWN = "application/octet-stream"

HEAD_BYTES = 64 * 1024
"""How much of a file `detect` wants to see; more is not looked at."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"{\\rtf", RTF),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
)
_ISO_MEDIA = {b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif", b"avif": "image/avif"}
_OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
_OLE_STREAMS = (
    (b"W\0o\0r\0d\0D\0o\0c\0u\0m\0e\0n\0t\0", DOC),
    (b"W\0o\0r\0k\0b\0o\0o\0k\0", XLS),
    (b"P\0o\0w\0e\0r\0P\0o\0i\0n\0t\0", PPT),
)
_OLE_SUFFIXES = {".doc": DOC, ".dot": DOC, ".xls": XLS, ".ppt": PPT}
_TEXT_SUFFIXES = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".csv": CSV,
    ".tsv": TSV,
    ".eml": EMAIL,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
}
_OFFICE_FOLDERS = (("word/", DOCX), ("xl/", XLSX), ("ppt/", PPTX))
_HTML_START = re.compile(r"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_PDF_OBJECT = re.compile(rb"\d+\s+\d+\s+obj\b")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def detect(head: bytes, filename: str) -> str:
    """The media type of a file that begins with `head` (the first 64 KiB are enough).

    ZIP files whose kind does not show in their first entries are `application/zip`, an empty or unrecognised file is
    `application/octet-stream`.
    """
    head = head[:HEAD_BYTES]
    if _is_pdf(head):
        return PDF
    for magic, media_type in _SIGNATURES:
        if head.startswith(magic):
            return media_type
    if head[4:8] == b"ftyp" and head[8:12] in _ISO_MEDIA:
        return _ISO_MEDIA[head[8:12]]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(_local_names(head), _mimetype_entry(head))
    if head.startswith(_OLE_MAGIC):
        return _ole_kind(head, filename)
    return _text_kind(head, filename)


def detect_file(path: Path, filename: str) -> str:
    """As `detect`, with the whole file at hand: a ZIP whose first entries say nothing is told by its directory."""
    with path.open("rb") as file:
        media_type = detect(file.read(HEAD_BYTES), filename)
    if media_type != ZIP:
        return media_type
    try:
        with zipfile.ZipFile(path) as archive:
            return _zip_kind(archive.namelist(), b"")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ZIP


def text_encoding(head: bytes) -> str | None:
    """The encoding of a text as far as its first bytes tell: by its mark, as valid UTF-8, or by where the zeros lie.

    None for bytes that are no text in a Unicode encoding.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return encoding
    if b"\x00" not in head:
        return "utf-8" if _decodes(head, "utf-8") else None
    quarter, half = len(head) // 4, len(head) // 2
    # A text in a Western language has a zero in nearly every second byte of UTF-16, in nearly three of four of UTF-32.
    for encoding, zeros, of in (
        ("utf-32-le", head[3::4].count(0), quarter),
        ("utf-32-be", head[0::4].count(0), quarter),
        ("utf-16-le", head[1::2].count(0), half),
        ("utf-16-be", head[0::2].count(0), half),
    ):
        if of >= 2 and zeros >= of * 0.7 and _decodes(head, encoding):
            return encoding
    return None


def _is_pdf(head: bytes) -> bool:
    start = head[:1024].find(b"%PDF-")
    if start < 0:
        return False
    # Readers accept junk before the header; a text that merely mentions it has no objects after it.
    return not head[:start].strip(b"\x00\t\n\x0c\r \xef\xbb\xbf") or bool(_PDF_OBJECT.search(head, start))


def _local_names(head: bytes) -> list[str]:
    names = []
    position = head.find(b"PK\x03\x04")
    while position >= 0:
        length = int.from_bytes(head[position + 26 : position + 28], "little")
        names.append(head[position + 30 : position + 30 + length].decode("utf-8", "replace"))
        position = head.find(b"PK\x03\x04", position + 30)
    return names


def _mimetype_entry(head: bytes) -> bytes:
    """The text of the uncompressed first entry `mimetype` that OpenDocument and EPUB begin with."""
    return head[38:120] if head[30:38] == b"mimetype" else b""


def _zip_kind(names: list[str], mimetype: bytes) -> str:
    if mimetype:
        for media_type in (EPUB, ODT):
            if mimetype.startswith(media_type.encode()):
                return media_type
        declared = re.match(rb"application/vnd\.oasis\.opendocument\.(spreadsheet|presentation|graphics)", mimetype)
        if declared:
            return declared[0].decode()
    for name in names:
        for folder, media_type in _OFFICE_FOLDERS:
            if name.replace("\\", "/").lstrip("/").startswith(folder):
                return media_type
    return ZIP


def _ole_kind(head: bytes, filename: str) -> str:
    for stream, media_type in _OLE_STREAMS:
        if stream in head:
            return media_type
    return _OLE_SUFFIXES.get(_suffix(filename), OLE)


def _text_kind(head: bytes, filename: str) -> str:
    encoding = text_encoding(head)
    text = head.decode(encoding, "ignore") if encoding else head.decode("latin-1")
    if not text.strip("\ufeff") or _CONTROL.search(text):
        return UNKNOWN
    if _HTML_START.match(text.lstrip("\ufeff")):
        return HTML
    return _TEXT_SUFFIXES.get(_suffix(filename), PLAIN)


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        # Not final: the head may end inside a character.
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _suffix(filename: str) -> str:
    return PurePosixPath(filename.replace("\\", "/")).suffix.lower()

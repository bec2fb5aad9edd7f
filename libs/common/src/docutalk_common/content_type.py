"""What a file is, decided by what lies in it. The name only decides among kinds of text.

Uploads are often mislabelled: a JPEG named `.pdf`, a page of HTML named `.doc`. The gateway asks this about the first bytes of an
upload, ingest asks it again about the whole file before it parses.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSB = "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
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
JSON = "application/json"
JSONL = "application/jsonl"
EMAIL = "message/rfc822"
PLAIN = "text/plain"
PNG = "image/png"
JPEG = "image/jpeg"
GIF = "image/gif"
TIFF = "image/tiff"
BMP = "image/bmp"
WEBP = "image/webp"
HEIC = "image/heic"
HEIF = "image/heif"
AVIF = "image/avif"
UNKNOWN = "application/octet-stream"

HEAD_BYTES = 64 * 1024
"""How much of a file `detect` wants to see; more is not looked at."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"{\\rtf", RTF),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", "application/x-elf"),
)
_ISO_MEDIA = {b"heic": HEIC, b"heix": HEIC, b"hevc": HEIC, b"mif1": HEIF, b"msf1": HEIF, b"avif": AVIF}
_OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
_OLE_STREAMS = (("WordDocument", DOC), ("Workbook", XLS), ("Book", XLS), ("PowerPoint Document", PPT))
_OLE_SUFFIXES = {".doc": DOC, ".dot": DOC, ".xls": XLS, ".xlt": XLS, ".ppt": PPT, ".pps": PPT}
# A password turns a modern Office file into an OLE one around the encrypted ZIP: what is in it only its name can tell.
_ENCRYPTED_PACKAGE = "EncryptedPackage"
_PACKAGE_SUFFIXES = {
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm", ".doc"), DOCX),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm", ".xls"), XLSX),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".potx", ".ppt"), PPTX),
    ".xlsb": XLSB,
}
_TEXT_SUFFIXES = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".csv": CSV,
    ".tsv": TSV,
    ".tab": TSV,
    ".json": JSON,
    ".geojson": JSON,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".eml": EMAIL,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
}
_OFFICE_FOLDERS = (("word/", DOCX), ("xl/", XLSX), ("ppt/", PPTX))
_HTML_START = re.compile(r"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_JSON_START = re.compile(r'\s*(?:\{\s*(?:"[^"\\\n]{0,200}"\s*:|\}\s*\Z)|\[\s*(?:[\[{"\d-]|(?:true|false|null)\b|\]\s*\Z))')
_MAIL_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60}):[ \t\r\n]")
# One of each makes a mail: a letter that begins with `From:` alone is a letter.
_MAIL_PEOPLE = frozenset({"from", "to", "sender", "delivered-to", "return-path", "reply-to"})
_MAIL_MARKS = frozenset({"received", "message-id", "mime-version", "date", "return-path", "content-type", "delivered-to"})
_FEW_BYTES = 16
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
        return WEBP
    if _is_bmp(head):
        return BMP
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(_local_names(head), _mimetype_entry(head))
    if head.startswith(_OLE_MAGIC):
        return _ole_kind(head, filename)
    return _text_kind(head, filename)


def detect_file(path: Path, filename: str) -> str:
    """As `detect`, with the whole file at hand: a ZIP or OLE file whose beginning says nothing is told by its directory."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        media_type = detect(head, filename)
        if head.startswith(_OLE_MAGIC):
            return _ole_kind(head + _ole_directory(head, file), filename)
    if media_type != ZIP:
        return media_type
    try:
        with zipfile.ZipFile(path) as archive:
            return _zip_kind(archive.namelist(), b"")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ZIP


def is_ole(path: Path) -> bool:
    """Whether the file is a container of old Office: an old document, or a modern one under a password."""
    with path.open("rb") as file:
        return file.read(len(_OLE_MAGIC)) == _OLE_MAGIC


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
    return _utf16_by_its_spaces(head)


def _utf16_by_its_spaces(head: bytes) -> str | None:
    """UTF-16 of another script has zeros only in its spaces, digits and line ends, all on the same side of their pairs."""
    low, high = head[0::2].count(0), head[1::2].count(0)
    if len(head) < _FEW_BYTES or min(low, high) > 0 or max(low, high) * 100 < len(head) // 2:
        return None
    encoding = "utf-16-le" if high else "utf-16-be"
    if not _decodes(head, encoding):
        return None
    text = head.decode(encoding, "ignore")
    odd = sum(unicodedata.category(character) in {"Cn", "Co", "Cc"} and not character.isspace() for character in text)
    return encoding if odd * 100 <= len(text) else None


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
        for media_type in (EPUB, ODT, ODS, ODP):
            if mimetype.startswith(media_type.encode()):
                return media_type
        declared = re.match(rb"application/vnd\.oasis\.opendocument\.graphics", mimetype)
        if declared:
            return declared[0].decode()
    if "xl/workbook.bin" in names:
        return XLSB
    for name in names:
        for folder, media_type in _OFFICE_FOLDERS:
            if name.replace("\\", "/").lstrip("/").startswith(folder):
                return media_type
    return ZIP


def _is_bmp(head: bytes) -> bool:
    """`BM` begins many a text: the sizes of both headers must fit too."""
    return head[:2] == b"BM" and head[6:10] == bytes(4) and head[14:18] in {bytes((size, 0, 0, 0)) for size in (12, 40, 108, 124)}


def _ole_kind(head: bytes, filename: str) -> str:
    suffix = _suffix(filename)
    if _ole_name(_ENCRYPTED_PACKAGE) in head:
        return _PACKAGE_SUFFIXES.get(suffix, OLE)
    found = [media_type for stream, media_type in _OLE_STREAMS if _ole_name(stream) in head]
    named = _OLE_SUFFIXES.get(suffix, OLE)
    # Of several, one is the document and the others are embedded in it.
    return named if named in found or not found else found[0]


def _ole_name(name: str) -> bytes:
    """An entry of an OLE directory ends with a zero; the character before it, if any, is another one's."""
    return b"\0" + name.encode("utf-16-le") + b"\0\0" if name == "Book" else name.encode("utf-16-le")


def _ole_directory(head: bytes, file: BinaryIO) -> bytes:
    """The first sector of the directory, wherever it lies."""
    size = 1 << min(int.from_bytes(head[30:32], "little"), 16)
    file.seek((int.from_bytes(head[48:52], "little") + 1) * size)
    return file.read(size)


def _text_kind(head: bytes, filename: str) -> str:
    encoding = text_encoding(head)
    text = head.decode(encoding, "ignore") if encoding else head.decode("latin-1")
    # A stray control character makes no program of a text; of random bytes, eleven in a hundred are such.
    if not text.strip("\ufeff") or sum(1 for _ in _CONTROL.finditer(text)) * 100 > len(text):
        return UNKNOWN
    if _HTML_START.match(text.lstrip("\ufeff")):
        return HTML
    named = _TEXT_SUFFIXES.get(_suffix(filename), PLAIN)
    if named in {PLAIN, EMAIL} and _is_mail(text):
        return EMAIL
    if named in {PLAIN, JSON, JSONL}:
        return _json_kind(text, named, whole=len(head) < HEAD_BYTES)
    return named


def _is_mail(text: str) -> bool:
    fields = set()
    for number, line in enumerate(text.lstrip("\ufeff").splitlines()[:200]):
        field = _MAIL_FIELD.match(line + "\n")
        if field:
            fields.add(field[1].lower())
        elif not line.startswith((" ", "\t")) and not (number == 0 and line.startswith(("From ", ">From "))):
            break
    return bool(fields & _MAIL_PEOPLE) and bool(fields & _MAIL_MARKS)


def _json_kind(text: str, named: str, *, whole: bool) -> str:
    """JSON whatever its name says when it reads as such; a text that only begins like it keeps its name's kind."""
    text = text.lstrip("\ufeff")
    if not _JSON_START.match(text):
        return named
    first, _, rest = text.strip().partition("\n")
    if named != JSON and rest and _is_json(first) and _JSON_START.match(rest.lstrip()):
        return JSONL
    if named != PLAIN:
        return named
    return JSON if not whole or _is_json(text) else PLAIN


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        # Not final: the head may end inside a character.
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _suffix(filename: str) -> str:
    return PurePosixPath(filename.replace("\\", "/")).suffix.lower()

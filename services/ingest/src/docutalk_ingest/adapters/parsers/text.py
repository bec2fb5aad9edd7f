"""Plain text and Markdown: decoded, frozen, one page."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

from charset_normalizer import from_bytes
from docutalk_common.content_type import text_encoding
from docutalk_common.contracts.ingest import DocumentMetadata

from docutalk_ingest.adapters.language import language_of_tag
from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.page_text import finish_units, label_of
from docutalk_ingest.domain import MAX_CHARACTERS, ParsedDocument, ParsedPage, ParseFailed, TooMuchText, UnitSpan, freeze

_SAMPLE_BYTES = 256 * 1024
_BYTES_PER_CHARACTER = 4
_MOSTLY_UTF8 = 0.9
# What browsers take these names for: files use more than the old standards hold.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_LABEL_SOURCE = 1_000
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(?=[^\s#])")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
# Lines that cannot be the text of an underlined heading: lists, quotes, tables, rules, indented code.
_NO_PARAGRAPH = re.compile(r" {4}|\t|\s*(?:[-*+>|#=]|\d+[.)]\s|$)")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_FIELD = re.compile(r"^(title|author|date|lang|language)[ \t]*:[ \t]*(.+?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_MARKS = re.compile(r"[*_`]+|!?\[([^\]]*)\]\([^)]*\)")


def read_text(path: Path, password: str | None = None) -> ParsedDocument:
    """The whole text as one page labelled `1`. `TooMuchText`, `no_text`."""
    return _document(decode_file(path), [])


def read_markdown(path: Path, password: str | None = None) -> ParsedDocument:
    """As `read_text`, the source as it is, with its headings as units and what its front matter says."""
    text = decode_file(path)
    front = _FRONT_MATTER.match(text)
    units = _headings(text, front.end() if front else 0)
    said = {name.lower(): value.strip("\"'") for name, value in _FIELD.findall(front[1])} if front else {}
    metadata = DocumentMetadata(
        title=said.get("title") or next((unit.label for unit in units if unit.level == 1), None),
        author=said.get("author"),
        created_at=parse_date(said.get("date")),
        language=language_of_tag(said.get("lang") or said.get("language")),
    )
    return _document(text, units, metadata)


def _document(text: str, units: list[UnitSpan], metadata: DocumentMetadata | None = None) -> ParsedDocument:
    if not text.strip():
        raise ParseFailed("no_text", "The file holds nothing but white space.")
    page = ParsedPage("1", text, kind="text", units=finish_units(units, len(text)))
    return ParsedDocument(iter([page]), page_count=1, metadata=metadata or DocumentMetadata())


def _headings(text: str, start: int) -> list[UnitSpan]:
    units: list[UnitSpan] = []
    fence = ""
    before = ""  # the line before, when it can be a heading by the line that follows it
    place = start
    for line in text[start:].split("\n"):
        marks = _FENCE.match(line)
        if fence:
            if marks and marks[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif marks:
            fence, before = marks[1], ""
        elif heading := _HEADING.match(line):
            units.append(_heading(line[heading.end() :].rstrip(" \t#"), place, len(heading[1])))
            before = ""
        elif before and (underline := _UNDERLINE.match(line)):
            units.append(_heading(before, place - len(before) - 1, 1 if "=" in underline[1] else 2))
            before = ""
        else:
            before = "" if _NO_PARAGRAPH.match(line) else line
        place += len(line) + 1
    return units


def _heading(text: str, start: int, level: int) -> UnitSpan:
    return UnitSpan("heading", label_of(_MARKS.sub(r"\1", text[:_LABEL_SOURCE])), start, start + len(text), level)


def decode_file(path: Path, declared: Callable[[bytes], str | None] = lambda sample: None) -> str:
    """The frozen text of a file in any usual encoding. Stops reading as soon as it is too much.

    `declared` may name the encoding that the file says it has; it counts when the bytes are no Unicode text.
    """
    size = path.stat().st_size
    if size > MAX_CHARACTERS * _BYTES_PER_CHARACTER:
        # No encoding of ours needs more than four bytes for a character: this is too much before a byte is read.
        raise TooMuchText(f"{size // 1_000_000} MB of text")
    with path.open("rb") as file:
        decoder = codecs.getincrementaldecoder(_encoding(file.read(_SAMPLE_BYTES), declared))(_ODD_BYTES)
        file.seek(0)
        parts: list[str] = []
        characters = 0
        while block := file.read(1 << 20):
            parts.append(decoder.decode(block))
            characters += len(parts[-1])
            if characters > MAX_CHARACTERS:
                raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")
        parts.append(decoder.decode(b"", True))
    return freeze("".join(parts).removeprefix("\ufeff"))


def decode_bytes(data: bytes, declared: str | None = None) -> str:
    """The text of a part of a file, not frozen. `declared` is tried when the bytes are no Unicode text."""
    text = data.decode(_encoding(data[:_SAMPLE_BYTES], lambda sample: declared), _ODD_BYTES)
    return text.removeprefix("\ufeff")


def _encoding(sample: bytes, declared: Callable[[bytes], str | None]) -> str:
    encoding = text_encoding(sample)
    if encoding:
        return encoding
    name = _known(declared(sample))
    if name:
        return name
    if _is_mostly_utf8(sample):
        return "utf-8"
    guess = from_bytes(sample[: 64 * 1024]).best()
    return guess.encoding if guess else "cp1252"


def _is_mostly_utf8(sample: bytes) -> bool:
    """A file put together from several is UTF-8 with some stray bytes: guessed as a whole, all of it would be garbled."""
    text = sample.decode("utf-8", "replace")
    stray = text.count("\ufffd")
    found = sum(character > "\x7f" for character in text) - stray
    return stray == 0 or found >= _MOSTLY_UTF8 * (found + stray)


def _known(encoding: str | None) -> str | None:
    """The codec of a declared encoding. Not UTF-16 and UTF-32: bytes that are these were recognised before."""
    try:
        codec = codecs.lookup(encoding or "")
    except LookupError:
        return None
    if not codec._is_text_encoding or codec.name.startswith(("utf-16", "utf-32")) or codec.name in _NO_ENCODINGS:
        return None
    return _SUPERSETS.get(codec.name, codec.name)


def _stray_byte(error: UnicodeError) -> tuple[str, int]:
    """A stray byte in UTF-8 is nearly always one of Windows' Western encoding."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    if error.encoding.replace("_", "-").startswith("utf-8"):
        return error.object[error.start : error.end].decode("cp1252", "replace"), error.end
    return "\ufffd", error.end


# Python calls these encodings of text too. They fail on any other text, whatever is to be done with odd bytes.
_NO_ENCODINGS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
_ODD_BYTES = "docutalk-stray-byte"
codecs.register_error(_ODD_BYTES, _stray_byte)

"""Plain text, Markdown and CSV: decoded, frozen, one page."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

from charset_normalizer import from_bytes
from docutalk_common.content_type import text_encoding

from docutalk_ingest.domain import MAX_CHARACTERS, ParsedDocument, ParsedPage, ParseFailed, TooMuchText, freeze

_SAMPLE_BYTES = 256 * 1024
_BYTES_PER_CHARACTER = 4


def read_text(path: Path, password: str | None = None) -> ParsedDocument:
    """The whole text as one page labelled `1`. `TooMuchText`, `empty`."""
    text = decode_file(path)
    if not text.strip():
        raise ParseFailed("no_text", "The file holds nothing but white space.")
    return ParsedDocument(pages=iter([ParsedPage("1", text)]), page_count=1)


def decode_file(path: Path, declared: Callable[[bytes], str | None] = lambda sample: None) -> str:
    """The frozen text of a file in any usual encoding. Stops reading as soon as it is too much.

    `declared` may name the encoding that the file says it has; it counts when the bytes are no Unicode text.
    """
    size = path.stat().st_size
    if size > MAX_CHARACTERS * _BYTES_PER_CHARACTER:
        # No encoding of ours needs more than four bytes for a character: this is too much before a byte is read.
        raise TooMuchText(f"{size // 1_000_000} MB of text")
    with path.open("rb") as file:
        decoder = codecs.getincrementaldecoder(_encoding(file.read(_SAMPLE_BYTES), declared))("replace")
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


def _encoding(sample: bytes, declared: Callable[[bytes], str | None]) -> str:
    encoding = text_encoding(sample)
    if encoding:
        return encoding
    name = declared(sample)
    if name and _is_known(name):
        return name
    guess = from_bytes(sample[: 64 * 1024]).best()
    return guess.encoding if guess else "cp1252"


def _is_known(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding)._is_text_encoding
    except LookupError:
        return False

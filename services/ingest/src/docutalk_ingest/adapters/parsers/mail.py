"""E-mails: the header's lines, the body, and the text of what is attached.

Parsed by the old policy of the standard library: the new one raises on headers that real mails have.
"""

from __future__ import annotations

import email
import re
import tempfile
from collections.abc import Callable, Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from pathlib import Path

from docutalk_common.content_type import EMAIL, detect, text_encoding
from docutalk_common.contracts.ingest import DocumentMetadata
from selectolax.lexbor import LexborHTMLParser

from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.html import add_lines, visible_lines
from docutalk_ingest.adapters.parsers.page_text import PageText, label_of
from docutalk_ingest.adapters.parsers.text import decode_bytes
from docutalk_ingest.domain import ParsedDocument, ParseFailed, TooMuchText

ReadAttachment = Callable[[Path, str], tuple[str, ParsedDocument]]
"""From a file and its name to its media type and pages."""

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_MAX_ATTACHMENTS = 50
_MAX_PARTS = 1_000
_MAX_HEADER = 20_000
"""Characters of a header's value that are looked at: hundreds of receivers."""
_MAX_DEPTH = 3
"""Of mails in mails."""
_MAX_ATTACHMENT_BYTES = 32 << 20
_BLANKS = re.compile(r"\s+")
_ENCODED_WORD = re.compile(r"=\?[\w.:*-]{1,60}\?[bBqQ]\?[^?\s]*\?=")
# White space between two encoded words is no part of the text.
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?)")


def read_mail(path: Path, password: str | None = None, *, attached: ReadAttachment) -> ParsedDocument:
    """One page: a unit `header`, the body, a unit `attachment` for each attached file. `attached` reads those."""
    message = _parse(path.read_bytes())
    page = PageText()
    _Writer(page, attached).write(message, depth=0)
    made = page.page()
    if not made.text:
        raise ParseFailed("no_text", "The e-mail holds no text and no readable attachment. Check the original.")
    metadata = DocumentMetadata(
        title=label_of(_header(message, "Subject")) or None,
        author=label_of(_header(message, "From")) or None,
        created_at=parse_date(_header(message, "Date")),
    )
    return ParsedDocument(iter([made]), page_count=1, metadata=metadata)


def _parse(data: bytes) -> Message:
    encoding = text_encoding(data[: 64 * 1024])
    if encoding and not encoding.startswith("utf-8"):
        # Saved as text by an editor: a mail itself never travels like this.
        data = data.decode(encoding, "replace").encode()
    return email.message_from_bytes(data.removeprefix(b"\xef\xbb\xbf").lstrip(), policy=compat32)


class _Writer:
    def __init__(self, page: PageText, attached: ReadAttachment) -> None:
        self._page = page
        self._attached = attached
        self._parts = self._attachments = 0

    def write(self, message: Message, depth: int) -> None:
        start = self._page.length
        lines = [f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))]
        if lines:
            self._page.add("\n".join(lines))
            self._page.unit("header", _header(message, "Subject") or "Header", start)
            self._page.add("\n\n")
        attachments: list[Message] = []
        for part in self._body(message, attachments):
            self._write_text(part)
        for part in attachments:
            self._attachment(part, depth)

    def _body(self, message: Message, attachments: list[Message]) -> Iterator[Message]:
        """The parts to be shown in their order; the others are put aside."""
        self._parts += 1
        if self._parts > _MAX_PARTS:
            return
        kind = message.get_content_type()
        if kind == "message/rfc822" or _is_attachment(message):
            attachments.append(message)
        elif message.is_multipart():
            parts = [part for part in message.get_payload() if isinstance(part, Message)]
            if kind == "multipart/alternative":
                parts = self._chosen(parts, attachments)
            for part in parts:
                yield from self._body(part, attachments)
        elif message.get_content_maintype() == "text":
            yield message
        elif not _is_decoration(message):
            attachments.append(message)

    def _chosen(self, parts: list[Message], attachments: list[Message]) -> list[Message]:
        """Of the same text in several forms, the plain one when it says anything, then HTML. Some programs put the attached
        files into one of the forms: those count whichever is chosen.
        """
        plain = next((part for part in parts if part.get_content_type() == "text/plain" and _text(part).strip()), None)
        rich = [part for part in parts if part.is_multipart() or part.get_content_type() == "text/html"]
        chosen = plain or (rich[-1] if rich else None)
        if chosen is None:
            return parts[-1:]
        for other in parts:
            if other is not chosen and other.is_multipart():
                attachments += [part for part in other.walk() if _is_attachment(part) and not _is_decoration(part)]
        return [chosen]

    def _write_text(self, part: Message) -> None:
        text = _text(part)
        if part.get_content_type() == "text/html":
            add_lines(self._page, visible_lines(LexborHTMLParser(text)))
        elif part.get_content_maintype() == "text":
            self._page.add(text.strip("\r\n"))
        else:
            return
        self._page.add("\n\n")

    def _attachment(self, part: Message, depth: int) -> None:
        self._attachments += 1
        name = label_of(_decoded(part.get_filename()))
        inner = _inner_mail(part, name)
        name = name or (label_of(_header(inner, "Subject")) if inner else "") or "without a name"
        start = self._page.length
        self._page.add(f"Attachment: {name}\n")
        if self._attachments > _MAX_ATTACHMENTS:
            self._page.add("(not read: too many attachments)\n")
        elif inner is None:
            self._file(part, name)
        elif depth < _MAX_DEPTH:
            self.write(inner, depth + 1)
        self._page.unit("attachment", name, start)
        self._page.add("\n")

    def _file(self, part: Message, name: str) -> None:
        """The text of an attached file as far as it can be read; why not, where it cannot."""
        data = _payload(part)
        if len(data) > _MAX_ATTACHMENT_BYTES:
            self._page.add(f"(not read: {len(data) // 1_000_000:,} MB; upload it as a file of its own)\n")
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "attachment"
            path.write_bytes(data)
            try:
                _, document = self._attached(path, name)
                for page in document.pages:
                    self._page.add(page.text + "\n" if page.text else "")
                    if page.needs_ocr:
                        self._page.add("(a picture that is not read here; upload it as a file of its own)\n")
            except TooMuchText:
                raise
            except ParseFailed as error:
                locked = "It is protected by a password; upload it as a file of its own."
                self._page.add(f"(not read: {locked if error.code == 'encrypted' else error.reason})\n")


def _is_attachment(part: Message) -> bool:
    if part.is_multipart():
        return False
    if part.get_content_disposition() == "attachment":
        return True
    return bool(part.get_filename()) and part.get_content_maintype() != "text"


def _is_decoration(part: Message) -> bool:
    """A picture that the HTML body shows: a logo, a line, a counter."""
    shown = "Content-ID" in part and part.get_content_disposition() != "attachment"
    return part.get_content_maintype() == "image" and shown


def _inner_mail(part: Message, name: str) -> Message | None:
    if part.get_content_type() == "message/rfc822" and part.is_multipart():
        inner = part.get_payload(0)
        return inner if isinstance(inner, Message) else None
    data = _payload(part)
    return _parse(data) if detect(data, name) == EMAIL else None


def _payload(part: Message) -> bytes:
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        return b""
    return data if isinstance(data, bytes) else b""


def _text(part: Message) -> str:
    return decode_bytes(_payload(part), part.get_content_charset())


def _header(message: Message, name: str) -> str:
    """A header in one line, decoded as far as it can be."""
    # Not `get`: it gives up on bytes that are not ASCII, which many a mail holds.
    found = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return _BLANKS.sub(" ", _decoded(str(found)[:_MAX_HEADER])).strip()


def _decoded(value: object) -> str:
    """Encoded words become text; raw bytes are taken for UTF-8 or what they look like."""
    raw = decode_bytes(str(value or "").encode("utf-8", "surrogateescape"))
    return _ENCODED_WORD.sub(_encoded_word, _BETWEEN_WORDS.sub(r"\1", raw))


def _encoded_word(found: re.Match[str]) -> str:
    try:
        ((word, charset),) = decode_header(found[0])
        return word if isinstance(word, str) else decode_bytes(word, charset)
    except (ValueError, LookupError, HeaderParseError):
        return found[0]

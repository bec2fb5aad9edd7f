"""A multipart form as it comes off the wire (RFC 7578), part by part, without a temporary file.

The parser is fed only when the reader of a part wants more: a slow object store slows the sender down to its own speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Literal

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from docutalk_gateway.domain import MalformedUpload

FIELD_MAX = 64 * 1024
PARTS_MAX = 1000

# What browsers write for the characters that would end a quoted name (HTML, multipart/form-data encoding).
_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))

_Event = tuple[Literal["begin", "data", "end"], bytes]


class Part:
    """One part. `filename` is None for a plain field. `chunks` or `text` may be read once."""

    def __init__(self, reader: _Reader, name: str, filename: str | None) -> None:
        self._reader = reader
        self.name = name
        self.filename = filename
        self.ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of this part, as they come."""
        while not self.ended:
            kind, data = await self._reader.next_event()
            if kind == "end":
                self.ended = True
            elif data:
                yield data

    async def text(self) -> str:
        """A field's value. Raises `MalformedUpload` above 64 KiB."""
        value = bytearray()
        async for chunk in self.chunks():
            value += chunk
            if len(value) > FIELD_MAX:
                raise MalformedUpload(f"The field {self.name!r} is longer than {FIELD_MAX} bytes.")
        return value.decode("utf-8", "replace")


class _Reader:
    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream = stream
        self._events: deque[_Event] = deque()
        self._name = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self.headers: deque[dict[bytes, bytes]] = deque()
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._on_data,
                "on_part_end": lambda: self._events.append(("end", b"")),
                "on_end": self._finish,
            },
        )

    def _begin(self) -> None:
        self._headers = {}

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        self.headers.append(self._headers)
        self._events.append(("begin", b""))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(("data", data[start:end]))

    def _finish(self) -> None:
        self._complete = True

    async def next_event(self) -> _Event:
        """The next event. Raises `MalformedUpload` when the body ends before the form does."""
        event = await self._next_or_end()
        if event is None:
            raise MalformedUpload("The upload ended early.")
        return event

    async def _next_or_end(self) -> _Event | None:
        while not self._events:
            if self._complete:
                return None
            try:
                data = await anext(self._stream)
            except StopAsyncIteration:
                raise MalformedUpload("The upload ended early.") from None
            try:
                self._parser.write(data)
            except FormParserError as error:
                raise MalformedUpload(f"The multipart form cannot be read: {error}") from error
        return self._events.popleft()

    async def next_part(self) -> Part | None:
        """The next part, None after the last."""
        event = await self._next_or_end()
        if event is None:
            return None
        assert event[0] == "begin", "a part is read to its end before the next"
        _, options = parse_options_header(self.headers.popleft().get(b"content-disposition", b""))
        if b"name" not in options:
            raise MalformedUpload("A part of the form has no name.")
        filename = options.get(b"filename")
        return Part(self, _decode(options[b"name"]), None if filename is None else _decode(filename))


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def boundary_of(content_type: str | None) -> bytes:
    """The boundary in a request's `Content-Type`. Raises `MalformedUpload` when it announces no multipart form."""
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise MalformedUpload("Send the files as multipart/form-data, in fields named 'file'.")
    return options[b"boundary"]


async def read_parts(stream: AsyncIterator[bytes], content_type: str | None) -> AsyncIterator[Part]:
    """The parts of a form in order. What is left unread of a part is skipped when the next one is asked for."""
    try:
        reader = _Reader(stream, boundary_of(content_type))
    except FormParserError as error:
        raise MalformedUpload(f"The multipart form cannot be read: {error}") from error
    count = 0
    while (part := await reader.next_part()) is not None:
        count += 1
        if count > PARTS_MAX:
            raise MalformedUpload(f"The form has more than {PARTS_MAX} parts.")
        yield part
        async for _ in part.chunks():
            pass

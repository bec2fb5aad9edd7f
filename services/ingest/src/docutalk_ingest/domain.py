"""Documents and what may become of them: limits, frozen text, named failures. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid5

from docutalk_common.contracts.ingest import DocumentMetadata, DocumentStatus
from docutalk_common.errors import DocuTalkError

FINAL_STATUSES = frozenset({DocumentStatus.READY, DocumentStatus.FAILED, DocumentStatus.CANCELLED})
UNFINISHED = (DocumentStatus.QUEUED, DocumentStatus.EXTRACTING, DocumentStatus.CHUNKING, DocumentStatus.EMBEDDING)
UNREAD = (DocumentStatus.QUEUED, DocumentStatus.EXTRACTING, DocumentStatus.CHUNKING)
"""Before the pages are stored."""
RETRIABLE = (DocumentStatus.FAILED, DocumentStatus.CANCELLED)

MAX_CHARACTERS = 20_000_000
"""Text of one document, in code points: about 10,000 dense pages."""
MAX_PAGES = 20_000
KEPT_VERSIONS = 10
"""Of how many versions of a document the pages are kept, with their files."""
MAX_NAMED_OBJECTS = 1_000
"""Keys in one message. Pictures of pages may be more than fit; whoever deletes them looks for what is not named."""
MAX_BATCH_CHUNKS = 64
MAX_BATCH_BYTES = 128 * 1024
MAX_GAP_CHARACTERS = 200

_CHUNK_NAMESPACE = UUID("6f1d9a52-6f0f-5a0c-9c86-1e2b1f3f7a11")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


class ParseFailed(DocuTalkError):
    """The file cannot become text. `code` is for programs, `reason` for the person who uploaded it.

    A handled outcome, not a fault: the document becomes `failed` and the message is done.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class TooMuchText(ParseFailed):
    """More text than one document may hold."""

    def __init__(self, found: str) -> None:
        super().__init__(
            "too_much_text",
            f"The file holds {found}; one document may hold {MAX_CHARACTERS:,} characters. Split it into smaller files.",
        )


@dataclass(frozen=True)
class UnitSpan:
    """A named stretch of a page: `text[start:end]`. `kind` and `level` as in the contract `Unit`."""

    kind: str
    label: str
    start: int
    end: int
    level: int = 0


@dataclass(frozen=True)
class ParsedPage:
    """One page: what the document itself calls it, and its frozen text.

    `kind` as in the contract `Page`. `readable` is false when the page is damaged. `needs_ocr` when what it says is (mostly) in
    its picture; `text` is then what could be read without.
    """

    label: str
    text: str
    readable: bool = True
    kind: str = "page"
    units: list[UnitSpan] = field(default_factory=list)
    needs_ocr: bool = False


@dataclass(frozen=True)
class ParsedDocument:
    """Pages in order, made while they are read. `page_count` is known before the first page, or None."""

    pages: Iterator[ParsedPage]
    page_count: int | None = None
    metadata: DocumentMetadata = field(default_factory=DocumentMetadata)


@dataclass(frozen=True)
class ExtractedPage:
    """A page with its chunks as `(start, end, batch)`: code point offsets into `text`, and the batch a chunk travels in.

    `lines`, for a page read by OCR: `(start, end, left, top, right, bottom)`, the box in shares (0 to 1) of the page from its
    upper left corner.
    """

    number: int
    label: str
    text: str
    chunks: list[tuple[int, int, int]]
    kind: str = "page"
    units: list[UnitSpan] = field(default_factory=list)
    lines: list[tuple[int, int, float, float, float, float]] | None = None


@dataclass(frozen=True)
class ExtractionSummary:
    """The totals of one extraction. `unreadable` are the numbers of damaged pages, `ocr` of those read from their picture.

    `text_hash` is the SHA-256 of the texts of all pages, a form feed between them; `extractor` names what read the file.
    """

    content_type: str
    page_count: int
    characters: int
    chunk_count: int
    batch_count: int
    unreadable: list[int] = field(default_factory=list)
    ocr: list[int] = field(default_factory=list)
    metadata: DocumentMetadata = field(default_factory=DocumentMetadata)
    extractor: str = ""
    text_hash: str = ""
    problem: str = ""
    """Why scanned pages among the unreadable ones could not be read, for the person who uploaded the file."""


@dataclass(frozen=True)
class Window:
    """How much may be in flight: `size` of anybody's, and `reserve` more for workspaces that have nothing in flight."""

    size: int
    reserve: int

    def has_room(self, in_flight: int, mine: int) -> bool:
        """Whether one more of a workspace may go, of which `mine` are in flight already."""
        return in_flight < self.size or (mine == 0 and in_flight < self.size + self.reserve)


@dataclass(frozen=True)
class Windows:
    """Those of the documents that are read and of the batches that are embedded, and after how long what was handed out
    counts as lost."""

    documents: Window = Window(2, 2)
    batches: Window = Window(6, 10)
    lost_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True)
class Batch:
    """Chunks that travel together. `chunks` is a JSON array of the contract `Chunk`."""

    number: int
    chunk_count: int
    chunks: str


def gap_between(page_text: str, end: int | None, start: int) -> str | None:
    """What stands between a chunk that ends at `end` and the next one, from `start`: nothing when they overlap. None for the
    first chunk of a page (`end` is None), and when it is too long to travel along."""
    if end is None or start - end > MAX_GAP_CHARACTERS:
        return None
    return page_text[end:start]


@dataclass
class BatchPlan:
    """Assigns chunks to batches in order, so that no batch holds more than 64 chunks or about 128 KiB of text."""

    batch: int = 0
    _chunks: int = 0
    _bytes: int = 0

    def place(self, size: int) -> int:
        """The number of the batch (from 0) for a chunk of `size` bytes."""
        if self._chunks and (self._chunks == MAX_BATCH_CHUNKS or self._bytes + size > MAX_BATCH_BYTES):
            self.batch += 1
            self._chunks = self._bytes = 0
        self._chunks += 1
        self._bytes += size
        return self.batch


def freeze(text: str) -> str:
    """The text as it is stored for good: no NUL or control characters but tab and newline, no lone surrogates, LF line ends.

    Offsets count code points of what this returns; it is called once for each page, before anything else looks at the text.
    """
    text = _LINE_END.sub("\n", text)
    text = _CONTROL.sub("", text)
    return _LONE_SURROGATE.sub("\ufffd", text)


def chunk_id(document_id: UUID, version: int, ordinal: int) -> UUID:
    """The same chunk of the same version has the same id however often it is cut, so that a second try replaces the first."""
    return uuid5(_CHUNK_NAMESPACE, f"{document_id}/{version}/{ordinal}")


def pictures_of(version: int) -> str:
    """How the names of all pictures of a version's pages begin."""
    return f"rendered-{version}-"

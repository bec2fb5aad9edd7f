"""What ingest says and answers: documents, their pages and what became of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal
from uuid import UUID

from docutalk_common.contracts.envelope import Contract, DocumentEvent, Message


class DocumentStatus(StrEnum):
    """Where a document is. Only `ready`, `failed` and `cancelled` are final."""

    QUEUED = "queued"
    EXTRACTING = "extracting"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DocumentProgressed(DocumentEvent):
    """Counts moved on. At most one a second for each document; counts never go back within a version."""

    type = "ingest.progress.changed.v1"
    owner = "ingest"
    status: DocumentStatus
    page_count: int | None = None
    pages_done: int = 0
    chunk_count: int | None = None
    chunks_done: int = 0


class DocumentExtracted(DocumentEvent):
    """Every page's text is stored and frozen; page offsets are valid from now on."""

    type = "ingest.document.extracted.v1"
    owner = "ingest"
    page_count: int
    characters: int


class DocumentChunked(DocumentEvent):
    """The chunks are cut and on their way to embed, as `batch_count` pieces of work."""

    type = "ingest.document.chunked.v1"
    owner = "ingest"
    chunk_count: int
    batch_count: int


class DocumentReady(DocumentEvent):
    """The document can be searched and cited as a whole. `chunk_count` may be 0: a document without text."""

    type = "ingest.document.ready.v1"
    owner = "ingest"
    page_count: int
    chunk_count: int


class DocumentFailed(DocumentEvent):
    """The document will not become ready. `reason` is written for the person who uploaded it."""

    type = "ingest.document.failed.v1"
    owner = "ingest"
    code: str
    reason: str


class DocumentDeleted(DocumentEvent):
    """The document is gone from ingest. Whoever holds something of it deletes that, and later messages about it are stale."""

    type = "ingest.document.deleted.v1"
    owner = "ingest"
    object_keys: list[str]
    deleted_by: UUID | None = None


class Chunk(Contract):
    """A passage: `text` is `page_text[start:end]` of page `page` (from 1), offsets in code points."""

    chunk_id: UUID
    ordinal: int
    page: int
    start: int
    end: int
    text: str


class ExtractDocument(Message):
    """Work for ingest itself: parse, store pages, cut chunks."""

    type = "ingest.document.extract.v1"
    kind: ClassVar[Literal["event", "work"]] = "work"
    owner = "ingest"
    document_id: UUID
    version: int = 1


class IndexChunks(Message):
    """Work for embed: one batch (at most 64 chunks and about 128 KiB) of a document's chunks.

    Batches of a document may arrive in any order and more than once. `chunk_count` and `batch_count` speak of the whole
    document version, so that the last batch to be stored, whichever it is, completes it.
    """

    type = "embed.chunks.index.v1"
    kind: ClassVar[Literal["event", "work"]] = "work"
    owner = "embed"
    document_id: UUID
    version: int = 1
    filename: str
    content_type: str
    document_created_at: datetime
    batch: int
    batch_count: int
    chunk_count: int
    chunks: list[Chunk]


class Document(Contract):
    """A document as the API shows it. `pages_done` and `chunks_done` never go back within a version."""

    document_id: UUID
    workspace_id: UUID
    filename: str
    content_type: str
    size: int
    sha256: str
    object_key: str
    status: DocumentStatus
    code: str | None = None
    reason: str | None = None
    page_count: int | None = None
    pages_done: int = 0
    chunk_count: int | None = None
    chunks_done: int = 0
    version: int = 1
    created_at: datetime
    updated_at: datetime


class ListDocuments(Contract):
    """`rpc.ingest.v1.document.list` → `DocumentList`. `pending_ids`: accepted uploads that ingest may not know yet."""

    workspace_id: UUID
    status: DocumentStatus | None = None
    q: str | None = None
    page: int = 1
    per_page: int = 20
    pending_ids: list[UUID] = []


class DocumentList(Contract):
    """`known_ids` are those of `pending_ids` that ingest has registered (or has deleted since)."""

    items: list[Document]
    total: int
    known_ids: list[UUID] = []


class GetDocument(Contract):
    """`rpc.ingest.v1.document.get` → `Document`; error `not_found`."""

    workspace_id: UUID
    document_id: UUID


class DeleteDocument(Contract):
    """`rpc.ingest.v1.document.delete` → `DocumentRemoved`; error `not_found`."""

    workspace_id: UUID
    document_id: UUID
    deleted_by: UUID


class DocumentRemoved(Contract):
    """The document is deleted; its passages and bytes follow by event."""

    document_id: UUID


class PageRef(Contract):
    """One page of one document, from 1; with `start` and `end` only that range of its text.

    A format without pages is one page, which may be far larger than a message can be.
    """

    document_id: UUID
    number: int
    start: int = 0
    end: int | None = None


class GetPages(Contract):
    """`rpc.ingest.v1.page.get` → `Pages`, in the order asked; pages that do not exist are left out. At most 64."""

    workspace_id: UUID
    pages: list[PageRef]


class Page(Contract):
    """A page's frozen text; `label` is what the document itself calls the page (`iv`, `A-3`), else the number.

    `text` is `page_text[start:]` as far as it was asked for; `start` is 0 unless a range was asked.
    """

    document_id: UUID
    number: int
    label: str
    text: str
    start: int = 0


class Pages(Contract):
    """The pages that exist."""

    pages: list[Page]

"""What ingest says and answers: documents, their pages and what became of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal
from uuid import UUID

from docutalk_common.contracts.envelope import Contract, DocumentEvent, ErasureReceipt, Message, MessageKind


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


class DocumentCancelled(DocumentEvent):
    """Somebody stopped the work on this attempt of this version. What arrives of it later is dropped."""

    type = "ingest.document.cancelled.v1"
    owner = "ingest"
    attempt: int = 1
    cancelled_by: UUID | None = None


class DocumentRetried(DocumentEvent):
    """Work begins again at `step` (`extracting` or `embedding`) as `attempt`."""

    type = "ingest.document.retried.v1"
    owner = "ingest"
    attempt: int
    step: DocumentStatus
    retried_by: UUID | None = None


class DocumentRenamed(DocumentEvent):
    """The name that people see has changed, for every version."""

    type = "ingest.document.renamed.v1"
    owner = "ingest"
    filename: str
    renamed_by: UUID | None = None


class DocumentCollected(DocumentEvent):
    """A source brought a new document, or a new version of one. The bytes lie in the object store."""

    type = "ingest.document.collected.v1"
    owner = "ingest"
    source_id: UUID
    run_id: UUID
    origin: str
    filename: str
    content_type: str
    size: int
    sha256: str


class DocumentErased(DocumentEvent):
    """The receipt of ingest: so many objects and pages of a deleted document are gone for good."""

    type = "ingest.document.erased.v1"
    owner = "ingest"
    objects: int
    pages: int


class DocumentPruned(DocumentEvent):
    """So many newer versions came that these are kept no longer: their pages are gone, their objects follow."""

    type = "ingest.document.pruned.v1"
    owner = "ingest"
    versions: list[int]
    object_keys: list[str]


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
    gap: str | None = None
    """What stands between the chunk before on this page and this one, mostly white space; None for a page's first chunk and
    when it is longer than 200 characters."""


class ExtractDocument(Message):
    """Work for ingest itself: parse, store pages, cut chunks."""

    type = "ingest.document.extract.v1"
    kind: ClassVar[MessageKind] = "work"
    owner = "ingest"
    document_id: UUID
    version: int = 1
    attempt: int = 1


class IndexChunks(Message):
    """Work for embed: one batch (at most 64 chunks and about 128 KiB) of a document's chunks.

    Batches of a document may arrive in any order and more than once. `chunk_count` and `batch_count` speak of the whole
    document version, so that the last batch to be stored, whichever it is, completes it.
    """

    type = "embed.chunks.index.v1"
    kind: ClassVar[MessageKind] = "work"
    owner = "embed"
    document_id: UUID
    version: int = 1
    attempt: int = 1
    """Work of an attempt that was cancelled is dropped; a chunk has the same id in every attempt."""
    language: str | None = None
    """ISO 639-1, as far as ingest could tell."""
    title: str | None = None
    source_id: UUID | None = None
    filename: str
    content_type: str
    document_created_at: datetime
    batch: int
    batch_count: int
    chunk_count: int
    chunks: list[Chunk]


class IndexChunksExpress(IndexChunks):
    """The same work for a workspace that has nothing else on its way: it does not wait behind the bulk of others."""

    type = "embed.chunks.express.v1"


class DocumentMetadata(Contract):
    """What a document says of itself; None where it says nothing. `language` is detected, ISO 639-1."""

    title: str | None = None
    author: str | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None
    language: str | None = None


class Document(Contract):
    """A document as the API shows it. `pages_done` and `chunks_done` never go back within a version.

    `served_version` is the version whose pages and passages are read and found: while a new version is processed, or when it
    failed, the one before it. `queue_position` counts from 1 while the document waits; `eta_seconds` is an estimate from
    measured speed until `ready`, None when there is none.
    """

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
    served_version: int | None = None
    attempt: int = 1
    metadata: DocumentMetadata = DocumentMetadata()
    source_id: UUID | None = None
    origin: str | None = None
    queue_position: int | None = None
    eta_seconds: float | None = None
    created_at: datetime
    updated_at: datetime


class ListDocuments(Contract):
    """`rpc.ingest.v1.document.list` → `DocumentList`. `pending_ids`: accepted uploads that ingest may not know yet."""

    workspace_id: UUID
    status: DocumentStatus | None = None
    q: str | None = None
    content_type: str | None = None
    source_id: UUID | None = None
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


class CancelDocument(Contract):
    """`rpc.ingest.v1.document.cancel` → `Document`; errors `not_found`, `conflict` (it has come to its end)."""

    workspace_id: UUID
    document_id: UUID
    cancelled_by: UUID


class RetryDocument(Contract):
    """`rpc.ingest.v1.document.retry` → `Document`; errors `not_found`, `conflict` (neither failed nor cancelled).

    `password` opens an encrypted file; it is forgotten when the file has been read.
    """

    workspace_id: UUID
    document_id: UUID
    retried_by: UUID
    password: str | None = None


class RenameDocument(Contract):
    """`rpc.ingest.v1.document.rename` → `Document`; error `not_found`."""

    workspace_id: UUID
    document_id: UUID
    filename: str
    renamed_by: UUID


class BulkAction(StrEnum):
    """What can be done to many documents at once."""

    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"


class ChangeDocuments(Contract):
    """`rpc.ingest.v1.document.change` → `DocumentsChanged`. Chosen by id, or else by status and a part of the name.

    At most 500 documents are changed at a time; `remaining` says how many more match, ask again for those.
    """

    workspace_id: UUID
    action: BulkAction
    document_ids: list[UUID] = []
    status: DocumentStatus | None = None
    q: str | None = None
    source_id: UUID | None = None
    changed_by: UUID


class DocumentRefused(Contract):
    """Why one document was left as it is: `not_found` or `conflict`."""

    document_id: UUID
    code: str
    reason: str


class DocumentsChanged(Contract):
    """The documents that were changed, and those that were not."""

    document_ids: list[UUID]
    refused: list[DocumentRefused] = []
    remaining: int = 0


class GetProgress(Contract):
    """`rpc.ingest.v1.progress.get` → `WorkspaceProgress`."""

    workspace_id: UUID


class WorkspaceProgress(Contract):
    """A workspace's documents together, counted by status. Pages and chunks are those of unfinished documents, as far as they
    are known."""

    documents: dict[str, int] = {}
    pages_done: int = 0
    page_count: int = 0
    chunks_done: int = 0
    chunk_count: int = 0
    eta_seconds: float | None = None


class ListVersions(Contract):
    """`rpc.ingest.v1.version.list` → `VersionList`; error `not_found`."""

    workspace_id: UUID
    document_id: UUID


class DocumentVersion(Contract):
    """One version of a document's file. `superseded` pages stay readable as long as the version is kept."""

    version: int
    filename: str
    content_type: str
    size: int
    sha256: str
    object_key: str
    page_count: int | None = None
    created_by: UUID
    created_at: datetime


class VersionList(Contract):
    """Newest first. `served_version` as in `Document`."""

    items: list[DocumentVersion]
    served_version: int | None = None


class KnownObjects(Contract):
    """`rpc.ingest.v1.object.known` → `ObjectsKnown`: which of these keys of the object store belong to ingest? At most 1,000."""

    keys: list[str]


class ObjectsKnown(Contract):
    """Those of the keys that must stay."""

    keys: list[str]


class PageRef(Contract):
    """One page of one document, from 1; with `start` and `end` only that range of its text.

    A format without pages is one page, which may be far larger than a message can be. Without `version` it is the one that
    is served.
    """

    document_id: UUID
    version: int | None = None
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
    version: int = 1
    number: int
    kind: str = "page"
    """`page`, `slide`, `sheet`, `chapter`, `part` or `text`."""
    label: str
    text: str
    start: int = 0


class Pages(Contract):
    """The pages that exist."""

    pages: list[Page]


class ListUnits(Contract):
    """`rpc.ingest.v1.unit.list` → `Units`, in order; of one page, or of the whole document. Error `not_found`."""

    workspace_id: UUID
    document_id: UUID
    version: int | None = None
    number: int | None = None
    after: int = 0
    """Ordinal after which to go on; at most 1,000 units are answered."""


class Unit(Contract):
    """A named stretch of a page: `page_text[start:end]`. `level` counts from 1 for headings, 0 for what has no level."""

    ordinal: int
    page: int
    kind: str
    """`heading` (reaching to the next one of its level), `table`, `row`, `notes`, `record`, `header`, `attachment`."""
    label: str
    level: int = 0
    start: int
    end: int


class Units(Contract):
    """`extractor` names what read the document, with its version; `text_hash` is the SHA-256 of all pages' text."""

    items: list[Unit]
    extractor: str | None = None
    text_hash: str | None = None
    more: bool = False


class GetBoxes(Contract):
    """`rpc.ingest.v1.page.boxes` → `Boxes`; errors `not_found`, `no_boxes` (the format has no places on paper), `invalid`."""

    workspace_id: UUID
    document_id: UUID
    version: int | None = None
    number: int
    start: int
    end: int


class Box(Contract):
    """A rectangle on a page, in points from its upper left corner (of the page as it is shown, rotation applied)."""

    left: float
    top: float
    right: float
    bottom: float


class Boxes(Contract):
    """One box for each line of the quote, on a page of `width` by `height` points."""

    width: float
    height: float
    boxes: list[Box]


class RenderPage(Contract):
    """`rpc.ingest.v1.page.render` → `RenderedPage`; errors `not_found`, `no_image`. `width` in pixels, 64 to 2,400."""

    workspace_id: UUID
    document_id: UUID
    version: int | None = None
    number: int
    width: int = 1000


class RenderedPage(Contract):
    """The picture lies in the object store under this key and goes with the document."""

    object_key: str
    content_type: str
    width: int
    height: int


class SourceKind(StrEnum):
    """Where documents come from beside uploads."""

    TEXT = "text"
    URLS = "urls"
    CSV = "csv"
    FEED = "feed"
    SEARCH = "search"


class Schedule(Contract):
    """Either `cron` (five fields, in `timezone`) or `every_seconds` (at least 60)."""

    cron: str | None = None
    every_seconds: int | None = None
    timezone: str = "UTC"


class Source(Contract):
    """`config` by kind: text `{title, text}`; urls `{urls}`; csv `{url | text, key_column?, title_column?, delimiter?}`;
    feed `{url, full_text, max_items}`; search `{query, max_results}`.
    """

    source_id: UUID
    workspace_id: UUID
    kind: SourceKind
    name: str
    config: dict[str, Any]
    schedule: Schedule | None = None
    paused: bool = False
    next_run_at: datetime | None = None
    last_run: SourceRun | None = None
    document_count: int = 0
    created_by: UUID
    created_at: datetime
    updated_at: datetime


class RunStatus(StrEnum):
    """Where a run of a source is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SourceRun(Contract):
    """One collection of a source. The four counts are of items; `reason` says why a run failed, or what of it did."""

    run_id: UUID
    source_id: UUID
    trigger: Literal["created", "manual", "schedule"]
    status: RunStatus
    found: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    reason: str | None = None
    queued_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class CreateSource(Contract):
    """`rpc.ingest.v1.source.create` → `Source`; error `invalid`. It runs at once, and then by its schedule."""

    workspace_id: UUID
    source_id: UUID
    kind: SourceKind
    name: str
    config: dict[str, Any]
    schedule: Schedule | None = None
    created_by: UUID


class ListSources(Contract):
    """`rpc.ingest.v1.source.list` → `SourceList`, newest first."""

    workspace_id: UUID
    page: int = 1
    per_page: int = 20


class SourceList(Contract):
    """A page of sources."""

    items: list[Source]
    total: int


class GetSource(Contract):
    """`rpc.ingest.v1.source.get` → `Source`; error `not_found`."""

    workspace_id: UUID
    source_id: UUID


class ChangeSource(Contract):
    """`rpc.ingest.v1.source.change` → `Source`; errors `not_found`, `invalid`. Only the fields that `fields` names change."""

    workspace_id: UUID
    source_id: UUID
    fields: list[Literal["name", "config", "schedule", "paused"]]
    name: str | None = None
    config: dict[str, Any] | None = None
    schedule: Schedule | None = None
    paused: bool | None = None
    changed_by: UUID


class DeleteSource(Contract):
    """`rpc.ingest.v1.source.delete` → `SourceRemoved`; error `not_found`. Its documents go too if `with_documents`."""

    workspace_id: UUID
    source_id: UUID
    with_documents: bool = False
    deleted_by: UUID


class SourceRemoved(Contract):
    """The source will not run again."""

    source_id: UUID
    documents_deleted: int = 0


class RunSource(Contract):
    """`rpc.ingest.v1.source.run` → `SourceRun`; errors `not_found`, `conflict` (a run is going on)."""

    workspace_id: UUID
    source_id: UUID
    started_by: UUID


class ListRuns(Contract):
    """`rpc.ingest.v1.source.runs` → `RunList`, newest first; error `not_found`."""

    workspace_id: UUID
    source_id: UUID
    page: int = 1
    per_page: int = 20


class RunList(Contract):
    """A page of runs."""

    items: list[SourceRun]
    total: int


class SourceEvent(Message):
    """An event about a source."""

    kind: ClassVar[MessageKind] = "event"
    source_id: UUID

    @property
    def entity_id(self) -> UUID:
        return self.source_id


class SourceRan(SourceEvent):
    """A run has come to its end, well or not."""

    type = "ingest.source.ran.v1"
    owner = "ingest"
    run: SourceRun


class CollectSource(Message):
    """Work for ingest itself: fetch what the source names and make documents of it."""

    type = "ingest.source.collect.v1"
    kind: ClassVar[MessageKind] = "work"
    owner = "ingest"
    source_id: UUID
    run_id: UUID


class SourceDue(Message):
    """The server's clock says that a source is to be collected.

    `due_at` is the time that was asked for; a firing of a time that is no longer the source's next one is stale.
    """

    type = "ingest.source.due.v1"
    kind: ClassVar[MessageKind] = "due"
    owner = "ingest"
    source_id: UUID
    due_at: datetime | None = None

    @property
    def entity_id(self) -> UUID:
        return self.source_id


class DataErased(ErasureReceipt):
    """The receipt of ingest for a deleted workspace or user."""

    type = "ingest.data.erased.v1"
    owner = "ingest"


class GetUsage(Contract):
    """`rpc.ingest.v1.workspace.usage` → `WorkspaceUsage`."""

    workspace_id: UUID


class WorkspaceUsage(Contract):
    """What a workspace takes. `bytes` are of the files of all versions that are kept; `collected_…` is the part that came from
    sources, and `older_bytes` that of earlier versions of documents that were uploaded."""

    documents: int = 0
    bytes: int = 0
    pages: int = 0
    collected_documents: int = 0
    collected_bytes: int = 0
    sources: int = 0
    older_bytes: int = 0


class KnownRecords(Contract):
    """`rpc.ingest.v1.record.known` → `RecordsKnown`: which of these ids has a document or a source, in any workspace, also such
    as was deleted? At most 1,000."""

    ids: list[UUID]


class RecordsKnown(Contract):
    """Those of the ids that cannot be given to something else."""

    ids: list[UUID]


class ExportedVersion(Contract):
    """One file of a document, as it is carried from one installation to another."""

    version: int
    filename: str
    content_type: str
    size: int
    sha256: str
    object_key: str
    created_at: datetime


class ExportedDocument(Contract):
    """A document without what is made of it anew: pages, passages. `versions` are those that are kept, oldest first."""

    document_id: UUID
    filename: str
    created_at: datetime
    source_id: UUID | None = None
    origin: str | None = None
    versions: list[ExportedVersion]


class ExportedSource(Contract):
    """A source without its runs, and without what it remembers of the addresses it fetched."""

    source_id: UUID
    kind: SourceKind
    name: str
    config: dict[str, Any]
    schedule: Schedule | None = None
    paused: bool = False
    created_at: datetime


class ExportRecords(Contract):
    """`rpc.ingest.v1.workspace.export` → `ExportedRecords`: sources, then documents, by id; a page that fits into a message.
    `after` is the `next` of the page before."""

    workspace_id: UUID
    after: str | None = None


class ExportedRecords(Contract):
    """`next` is None on the last page."""

    sources: list[ExportedSource] = []
    documents: list[ExportedDocument] = []
    next: str | None = None


class ImportRecords(Contract):
    """`rpc.ingest.v1.workspace.import` → `RecordsImported`. The files lie under their keys, in the place of this workspace.

    All or nothing; what was imported before is left as it is, so that asking again does no harm. Documents are read as uploads
    are, each version after the other; sources run by their schedules from now on, not at once. Errors `invalid`, `conflict` (an
    id belongs to another workspace).
    """

    workspace_id: UUID
    imported_by: UUID
    sources: list[ExportedSource] = []
    documents: list[ExportedDocument] = []


class RecordsImported(Contract):
    """How many are there now of those that were sent."""

    sources: int
    documents: int


Source.model_rebuild()

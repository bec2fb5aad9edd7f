"""A workspace's sources and documents, page by page, to be carried to another installation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

from docutalk_common.contracts.ingest import ExportedDocument, ExportedRecords, ExportedSource, ExportRecords
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.record_repository import RecordRepository

MAX_PAGE_BYTES = 500 * 1024
KINDS = ("source", "document")
# A source's configuration may have a megabyte.
SOURCES_AT_ONCE = 10
DOCUMENTS_AT_ONCE = 200


@dataclass
class _Page:
    sources: list[ExportedSource] = field(default_factory=list)
    documents: list[ExportedDocument] = field(default_factory=list)
    size: int = 0
    last: str | None = None

    def take(self, record: ExportedSource | ExportedDocument) -> bool:
        """Whether it fits; the first one always does."""
        size = len(record.model_dump_json().encode())
        if self.last is not None and self.size + size > MAX_PAGE_BYTES:
            return False
        self.size += size
        if isinstance(record, ExportedSource):
            self.sources.append(record)
            self.last = f"source:{record.source_id}"
        else:
            self.documents.append(record)
            self.last = f"document:{record.document_id}"
        return True


async def export_records(request: ExportRecords, db: Database) -> ExportedRecords:
    """What was deleted is left out. What is added or deleted between two pages may be there or not. Raises
    `RequestFailed("invalid")` for an `after` that no page gave."""
    page = _Page()
    async with db.read() as session:
        async for record in _records(RecordRepository(session), request):
            if not page.take(record):
                return ExportedRecords(sources=page.sources, documents=page.documents, next=page.last)
    return ExportedRecords(sources=page.sources, documents=page.documents)


async def _records(repository: RecordRepository, request: ExportRecords) -> AsyncIterator[ExportedSource | ExportedDocument]:
    kind, after = _place(request.after)
    if kind == "source":
        while sources := await repository.sources(request.workspace_id, after, SOURCES_AT_ONCE):
            for source in sources:
                yield source
            after = sources[-1].source_id
        after = None
    while documents := await repository.documents(request.workspace_id, after, DOCUMENTS_AT_ONCE):
        for document in documents:
            yield document
        after = documents[-1].document_id


def _place(after: str | None) -> tuple[str, UUID | None]:
    if after is None:
        return KINDS[0], None
    kind, _, last = after.partition(":")
    try:
        if kind in KINDS:
            return kind, UUID(last)
    except ValueError:
        pass
    raise RequestFailed("invalid", "`after` is not the `next` of a page.")

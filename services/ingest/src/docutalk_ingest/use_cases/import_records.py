"""Sources and documents of another installation, or of an earlier time, become those of a workspace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import ExportedDocument, ExportedSource, ImportRecords, RecordsImported
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.record_repository import RecordRepository
from docutalk_ingest.adapters.source_repository import NewSource, SourceRepository
from docutalk_ingest.adapters.sources.kinds import config_as_stored, read_config
from docutalk_ingest.adapters.timetable import MIN_INTERVAL_SECONDS, check_schedule, next_time
from docutalk_ingest.adapters.tombstones import WorkspaceErased
from docutalk_ingest.adapters.version_repository import NewUpload, VersionRepository
from docutalk_ingest.use_cases.create_source import checked_name
from docutalk_ingest.use_cases.tell_progress import progress_of

MAX_VERSION = (1 << 31) - 1
MAX_SIZE = (1 << 63) - 1


async def import_records(
    request: ImportRecords,
    cause: Cause,
    db: Database,
    wake: Callable[[], None],
    *,
    min_interval: int = MIN_INTERVAL_SECONDS,
) -> RecordsImported:
    """All of them or none; those that are there already stay as they are. Documents wait to be read, oldest version first, and
    keep the link to their source if it is there. Sources run by their schedules from now on.

    Raises `RequestFailed`: `invalid` with what is wrong, `conflict` when an id is another workspace's, or of something that was
    deleted, or when the workspace is.
    """
    sources = [_new_source(source, min_interval) for source in request.sources]
    problem = next(_problems(request), None)
    if problem is not None:
        raise RequestFailed("invalid", problem)
    try:
        async with db.transaction(cause) as transaction:
            await SourceRepository(transaction.session).add_all(request.workspace_id, request.imported_by, sources)
            await _add_documents(transaction, request)
            await _refuse_taken(transaction, request)
    except WorkspaceErased as error:
        raise RequestFailed("conflict", f"{error} Nothing can be imported into it.") from error
    wake()
    return RecordsImported(sources=len(request.sources), documents=len(request.documents))


async def _add_documents(transaction: Transaction, request: ImportRecords) -> None:
    named = {document.source_id for document in request.documents if document.source_id is not None}
    sources = await RecordRepository(transaction.session).hold_sources(request.workspace_id, list(named))
    new = [_new_document(document, request, sources, transaction.cause) for document in request.documents]
    for document in await VersionRepository(transaction.session).register_new(new):
        transaction.emit(progress_of(document))


async def _refuse_taken(transaction: Transaction, request: ImportRecords) -> None:
    """Last, when whoever was adding the same at the same time is done."""
    taken = await RecordRepository(transaction.session).taken(
        request.workspace_id,
        [document.document_id for document in request.documents],
        [source.source_id for source in request.sources],
    )
    if taken:
        which = ", ".join(str(id_) for id_ in taken[:3]) + (", …" if len(taken) > 3 else "")
        raise RequestFailed("conflict", f"{which}: of another workspace, or deleted. Import it under another id.")


def _new_source(source: ExportedSource, min_interval: int) -> NewSource:
    next_run_at = None
    if source.schedule is not None:
        check_schedule(source.schedule, min_interval=min_interval)
        next_run_at = None if source.paused else next_time(source.schedule, datetime.now(UTC))
    config = config_as_stored(read_config(source.kind, source.config))
    return NewSource(source.model_copy(update={"name": checked_name(source.name)}), config, next_run_at)


def _new_document(document: ExportedDocument, request: ImportRecords, sources: Collection[UUID], cause: Cause) -> NewUpload:
    first, *later = [
        DocumentUploaded(
            workspace_id=request.workspace_id,
            document_id=document.document_id,
            uploaded_by=request.imported_by,
            **version.model_dump(exclude={"created_at"}),
        )
        for version in document.versions
    ]
    new = NewUpload.of(first, document.versions[0].created_at, cause)
    for upload, version in zip(later, document.versions[1:], strict=True):
        new = new.with_later(upload, version.created_at)
    about: dict[str, Any] = document.model_dump(include={"filename", "created_at", "origin"})
    linked = document.source_id if document.source_id in sources else None
    return NewUpload(new.document | about | {"source_id": linked}, new.versions)


def _problems(request: ImportRecords) -> Iterator[str]:
    """What cannot be imported, as sentences."""
    yield from _twice([source.source_id for source in request.sources], "source")
    yield from _twice([document.document_id for document in request.documents], "document")
    for source in request.sources:
        if source.created_at.tzinfo is None:
            yield f"The source {source.source_id} was made at a time without a time zone."
    for document in request.documents:
        yield from (f"The document {document.document_id} {what}." for what in _flaws(document, request.workspace_id))


def _twice(ids: Sequence[UUID], kind: str) -> Iterator[str]:
    if len(set(ids)) < len(ids):
        yield f"The same {kind} is there twice."


def _flaws(document: ExportedDocument, workspace_id: UUID) -> Iterator[str]:
    numbers = [version.version for version in document.versions]
    if not numbers:
        yield "has no versions"
    if numbers != sorted(set(numbers)) or not all(1 <= number <= MAX_VERSION for number in numbers):
        yield "has versions that are not in order"
    place = f"{workspace_id}/{document.document_id}/"
    if not all(version.object_key.startswith(place) for version in document.versions):
        yield "has files that do not lie in its place"
    if not all(0 <= version.size <= MAX_SIZE for version in document.versions):
        yield "has files of an impossible size"
    texts = [document.filename, document.origin or ""]
    for version in document.versions:
        texts += [version.filename, version.content_type, version.sha256, version.object_key]
    if any("\x00" in text for text in texts):
        yield "has a NUL character in one of its names"
    if not all(time.tzinfo for time in (document.created_at, *(version.created_at for version in document.versions))):
        yield "was made at a time without a time zone"

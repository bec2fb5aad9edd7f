"""A file came in: remember it; its turn to be read comes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import Document, DocumentCancelled, DocumentPruned, ExtractDocument
from docutalk_common.db import Transaction
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.extraction_repository import ExtractionRepository
from docutalk_ingest.adapters.version_repository import VersionRepository
from docutalk_ingest.domain import KEPT_VERSIONS, UNFINISHED, Window
from docutalk_ingest.use_cases.tell_progress import progress_of


async def register_document(
    upload: DocumentUploaded, delivery: Delivery, window: Window | None = None, *, keep_versions: int = KEPT_VERSIONS
) -> None:
    """Queues each version once. Uploads of a known version or a deleted document change nothing."""
    async with delivery.transaction() as transaction:
        await register_version(transaction, upload, came_at=delivery.envelope.time, window=window, keep_versions=keep_versions)


async def register_version(
    transaction: Transaction,
    upload: DocumentUploaded,
    *,
    came_at: datetime,
    window: Window | None = None,
    keep_versions: int = KEPT_VERSIONS,
    source_id: UUID | None = None,
    origin: str | None = None,
) -> Document | None:
    """Queues a new document or a new version of one, also one that a source brought. None when it is known already.

    With `window` its extraction is ordered at once if there is room; else it waits for the dispatcher. A version that was still
    being processed is given up for it. The newest `keep_versions` are kept, and the one that is served.
    """
    repository = VersionRepository(transaction.session)
    before = await DocumentRepository(transaction.session).lock(upload.document_id) if upload.version > 1 else None
    goes_at_once = window is not None and await ExtractionRepository(transaction.session).room_for_documents(
        upload.workspace_id, window
    )
    document = await repository.register(
        upload, uploaded_at=came_at, source_id=source_id, origin=origin, cause=transaction.cause, released=goes_at_once
    )
    if document is None:
        return None
    about = {"workspace_id": document.workspace_id, "document_id": document.document_id}
    if before is not None and before.status in UNFINISHED:
        transaction.emit(
            DocumentCancelled(**about, version=before.version, attempt=before.attempt, cancelled_by=upload.uploaded_by)
        )
    if document.version > keep_versions:
        pruned = await repository.prune(document.document_id, keep_versions)
        if pruned is not None:
            transaction.emit(
                DocumentPruned(**about, version=document.version, versions=pruned.versions, object_keys=pruned.object_keys)
            )
    transaction.emit(progress_of(document))
    if goes_at_once:
        transaction.emit(ExtractDocument(**about, version=document.version, attempt=document.attempt))
    return document

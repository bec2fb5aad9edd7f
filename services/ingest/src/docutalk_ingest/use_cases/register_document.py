"""A file was uploaded: remember it and order its extraction."""

from __future__ import annotations

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import ExtractDocument
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.repository import DocumentRepository
from docutalk_ingest.use_cases.tell_progress import progress_of


async def register_document(upload: DocumentUploaded, delivery: Delivery) -> None:
    """Emits `ExtractDocument` once for each version. Uploads of a known version or a deleted document change nothing."""
    async with delivery.transaction() as transaction:
        document = await DocumentRepository(transaction.session).register(upload, uploaded_at=delivery.envelope.time)
        if document is not None:
            transaction.emit(progress_of(document))
            transaction.emit(
                ExtractDocument(workspace_id=upload.workspace_id, document_id=upload.document_id, version=upload.version)
            )

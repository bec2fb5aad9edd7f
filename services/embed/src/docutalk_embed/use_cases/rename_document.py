"""Show a document under its new name in every passage of it."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentRenamed
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.document_repository import DocumentRepository


async def rename_document(event: DocumentRenamed, delivery: Delivery) -> None:
    """The latest name wins by the time at which it was given, not by the order in which the messages come."""
    async with delivery.transaction() as transaction:
        documents = DocumentRepository(transaction)
        if await documents.lock(event.document_id, event.workspace_id) is not None:
            await documents.rename(event.document_id, event.filename, delivery.envelope.time)

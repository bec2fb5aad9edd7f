"""Forget a document that ingest has deleted, and keep its late batches out."""

from __future__ import annotations

from docutalk_common.contracts.embed import DocumentUnindexed
from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.document_repository import DocumentRepository


async def delete_document(event: DocumentDeleted, delivery: Delivery) -> None:
    """Removes its chunks and vectors, with a receipt. A document that never came is marked all the same: its batches may
    still come."""
    async with delivery.transaction() as transaction:
        documents = DocumentRepository(transaction)
        state = await documents.lock(event.document_id, event.workspace_id)
        if state is None or state.deleted:
            return
        chunks = await documents.count_chunks(event.document_id)
        await documents.withdraw(event.document_id, event.workspace_id, state)
        await documents.bury(event.document_id, event.version)
        transaction.emit(
            DocumentUnindexed(
                workspace_id=event.workspace_id, document_id=event.document_id, version=event.version, chunks=chunks
            )
        )

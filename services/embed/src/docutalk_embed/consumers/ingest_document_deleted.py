"""Ingest has deleted a document."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.use_cases.delete_document import delete_document


async def ingest_document_deleted(event: DocumentDeleted, delivery: Delivery) -> None:
    """The handler of `embed-document-deleted`."""
    await delete_document(event, delivery)

"""Somebody has stopped the work on a document."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentCancelled
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.use_cases.cancel_document import cancel_document


async def ingest_document_cancelled(event: DocumentCancelled, delivery: Delivery) -> None:
    """The handler of `embed-document-cancelled`."""
    await cancel_document(event, delivery)

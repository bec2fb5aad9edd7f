"""A document has a new name."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentRenamed
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.use_cases.rename_document import rename_document


async def ingest_document_renamed(event: DocumentRenamed, delivery: Delivery) -> None:
    """The handler of `embed-document-renamed`."""
    await rename_document(event, delivery)

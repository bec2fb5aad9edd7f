"""Embed has stored every chunk of a document."""

from __future__ import annotations

from docutalk_common.contracts.embed import DocumentIndexed
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.mark_ready import mark_ready


async def embed_document_indexed(indexed: DocumentIndexed, delivery: Delivery) -> None:
    """The handler of `ingest-document-indexed`."""
    await mark_ready(indexed, delivery)

"""The gateway has accepted a file."""

from __future__ import annotations

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.register_document import register_document


async def gateway_document_uploaded(upload: DocumentUploaded, delivery: Delivery) -> None:
    """The handler of `ingest-document-uploaded`."""
    await register_document(upload, delivery)

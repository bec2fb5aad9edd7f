"""A document waits for its text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ExtractDocument
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.extract_document import DocumentExtractor


def ingest_document_extract(extract: DocumentExtractor) -> Callable[[ExtractDocument, Delivery], Awaitable[None]]:
    """The handler of `ingest-document-extract`."""

    async def handle(work: ExtractDocument, delivery: Delivery) -> None:
        await extract(work, delivery)

    return handle

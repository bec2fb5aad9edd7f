"""A document was deleted: its bytes go too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.use_cases.delete_objects import erase_document


def ingest_document_deleted(storage: ObjectStorage) -> Callable[[DocumentDeleted, Delivery], Awaitable[None]]:
    """The handler of `ingest-document-deleted`."""

    async def handle(event: DocumentDeleted, delivery: Delivery) -> None:
        await erase_document(event, delivery, storage)

    return handle

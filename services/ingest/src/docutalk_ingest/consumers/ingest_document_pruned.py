"""Old versions of a document are kept no longer: their bytes go too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import DocumentPruned
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.use_cases.delete_objects import delete_pruned_objects


def ingest_document_pruned(storage: ObjectStorage) -> Callable[[DocumentPruned, Delivery], Awaitable[None]]:
    """The handler of `ingest-document-pruned`."""

    async def handle(event: DocumentPruned, _delivery: Delivery) -> None:
        await delete_pruned_objects(event, storage)

    return handle

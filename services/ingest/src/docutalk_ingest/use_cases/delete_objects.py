"""A document was deleted, or old versions of it are kept no longer: remove the bytes from the object store."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentDeleted, DocumentErased, DocumentPruned
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.repository import DocumentRepository


async def erase_document(event: DocumentDeleted, delivery: Delivery, storage: ObjectStorage) -> None:
    """Objects that are gone already are fine. Waits, by `DependencyUnavailable`, while the store is away. The receipt,
    `DocumentErased`, is given once, when nothing is left."""
    if event.object_keys:
        await storage.delete(event.object_keys)
    async with delivery.transaction() as transaction:
        pages = await DocumentRepository(transaction.session).note_erased(event.document_id)
        if pages is not None:
            transaction.emit(
                DocumentErased(
                    workspace_id=event.workspace_id,
                    document_id=event.document_id,
                    version=event.version,
                    objects=len(event.object_keys),
                    pages=pages,
                )
            )


async def delete_pruned_objects(event: DocumentPruned, storage: ObjectStorage) -> None:
    """The files of versions that are kept no longer."""
    if event.object_keys:
        await storage.delete(event.object_keys)

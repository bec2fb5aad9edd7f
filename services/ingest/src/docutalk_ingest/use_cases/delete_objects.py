"""A document was deleted, or old versions of it are kept no longer: remove the bytes from the object store."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentDeleted, DocumentErased, DocumentPruned
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.domain import pictures_of


async def erase_document(event: DocumentDeleted, delivery: Delivery, storage: ObjectStorage) -> None:
    """All that lies in the document's place goes, whether the event names it or not: it names the first thousand keys only.
    Objects that are gone already are fine. Waits, by `DependencyUnavailable`, while the store is away. The receipt,
    `DocumentErased`, is given once, when nothing is left."""
    found = await storage.keys(f"{event.workspace_id}/{event.document_id}/")
    keys = sorted({*event.object_keys, *found})
    if keys:
        await storage.delete(keys)
    async with delivery.transaction() as transaction:
        pages = await DocumentRepository(transaction.session).note_erased(event.document_id)
        if pages is not None:
            transaction.emit(
                DocumentErased(
                    workspace_id=event.workspace_id,
                    document_id=event.document_id,
                    version=event.version,
                    objects=len(keys),
                    pages=pages,
                )
            )


async def delete_pruned_objects(event: DocumentPruned, storage: ObjectStorage) -> None:
    """The files of versions that are kept no longer, and every picture of their pages, whether the event names it or not."""
    place = f"{event.workspace_id}/{event.document_id}/"
    keys = set(event.object_keys)
    for version in event.versions:
        keys.update(await storage.keys(place + pictures_of(version)))
    if keys:
        await storage.delete(sorted(keys))

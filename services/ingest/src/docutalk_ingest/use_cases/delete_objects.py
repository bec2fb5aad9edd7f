"""A document was deleted: remove its bytes from the object store."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.storage import ObjectStorage


async def delete_objects(event: DocumentDeleted, storage: ObjectStorage) -> None:
    """Objects that are gone already are fine. Waits, by `DependencyUnavailable`, while the store is away."""
    if event.object_keys:
        await storage.delete(event.object_keys)

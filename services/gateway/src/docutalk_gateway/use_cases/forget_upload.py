"""After a document is deleted, wherever that was decided, its bytes may come again."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.messaging.consumer import Delivery

from docutalk_gateway.adapters import repository


async def forget_upload(delivery: Delivery, *, workspace_id: UUID, document_id: UUID) -> None:
    """Deletes the rows of its versions; what is gone already is fine."""
    async with delivery.transaction() as tx:
        await repository.delete_uploads(tx.session, workspace_id, [document_id])

"""Say of every citation of a deleted document that its source is gone. The quote stays: it is part of what was answered."""

from __future__ import annotations

from docutalk_common.contracts.chat import DocumentUncited
from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.adapters import source_repository
from docutalk_chat.adapters.erasure_repository import may_store


async def mark_source_deleted(event: DocumentDeleted, delivery: Delivery) -> None:
    """Emits the receipt once, also when nothing was cited; none for a workspace that was erased, with all its citations."""
    async with delivery.transaction() as transaction:
        db = transaction.session
        if not await may_store(db, event.workspace_id):
            return
        marked = await source_repository.mark_source_deleted(db, event.workspace_id, event.document_id, delivery.envelope.time)
        if marked is not None:
            transaction.emit(
                DocumentUncited(
                    workspace_id=event.workspace_id, document_id=event.document_id, version=event.version, citations=marked
                )
            )

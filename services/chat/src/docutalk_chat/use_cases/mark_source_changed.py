"""Say of every citation of an earlier version that its document changed. The quote stays: it is part of what was answered."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentReady
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.adapters import source_repository
from docutalk_chat.adapters.erasure_repository import may_store


async def mark_source_changed(event: DocumentReady, delivery: Delivery) -> None:
    """A first version changes nothing that could have been cited, and of a workspace that was erased nothing is kept."""
    async with delivery.transaction() as transaction:
        db = transaction.session
        if event.version > 1 and await may_store(db, event.workspace_id):
            await source_repository.mark_source_changed(
                db, event.workspace_id, event.document_id, event.version, delivery.envelope.time
            )

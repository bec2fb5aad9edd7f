"""Say of every citation of an earlier version that its document changed. The quote stays: it is part of what was answered."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentReady
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.adapters import source_repository


async def mark_source_changed(event: DocumentReady, delivery: Delivery) -> None:
    """A first version changes nothing that could have been cited."""
    async with delivery.transaction() as transaction:
        if event.version > 1:
            await source_repository.mark_source_changed(
                transaction.session, event.document_id, event.version, delivery.envelope.time
            )

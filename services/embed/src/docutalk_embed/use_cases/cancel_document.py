"""Drop what was stored for an attempt that somebody stopped, and keep the rest of it out."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentCancelled
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.document_repository import DocumentRepository


async def cancel_document(event: DocumentCancelled, delivery: Delivery) -> None:
    """What searches find stays: the version before, or this one when its last batch was faster than the person.

    An attempt after the cancelled one may have overtaken this message; nothing of it is touched.
    """
    async with delivery.transaction() as transaction:
        documents = DocumentRepository(transaction)
        state = await documents.lock(event.document_id, event.workspace_id)
        if state is None:
            return
        await documents.cancel(event.document_id, event.version, event.attempt)
        if not state.is_live and (state.version, state.attempt) <= (event.version, event.attempt):
            await documents.discard(event.document_id, state.live_version)

"""Embed has stored some chunks: move the count on and tell it, at most once a second."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChunksIndexed
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.repository import DocumentRepository
from docutalk_ingest.use_cases.tell_progress import progress_of


async def record_progress(indexed: ChunksIndexed, delivery: Delivery) -> None:
    """Counts only rise: an older count that arrives late changes nothing."""
    async with delivery.transaction() as transaction:
        moved = await DocumentRepository(transaction.session).note_chunks_done(
            indexed.document_id, indexed.version, indexed.chunks_done
        )
        if moved is not None and moved[1]:
            transaction.emit(progress_of(moved[0]))

"""Embed has stored some chunks: move the count on and tell it, at most once a second."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChunksIndexed
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.batch_repository import BatchRepository
from docutalk_ingest.adapters.speed_repository import SpeedRepository
from docutalk_ingest.use_cases.mark_ready import tell_ready
from docutalk_ingest.use_cases.tell_progress import progress_of


async def record_progress(indexed: ChunksIndexed, delivery: Delivery) -> None:
    """Counts only rise: an older count that arrives late changes nothing. The batch that is done makes room for the next."""
    async with delivery.transaction() as transaction:
        repository = BatchRepository(transaction.session)
        counted = await repository.note_chunks_done(
            indexed.document_id, indexed.version, indexed.chunks_done, indexed.batch, indexed.attempt
        )
        if counted.complete:
            # Embed says so once more in a message of its own; to one who asked it again it says only this.
            await tell_ready(transaction, indexed.document_id, indexed.version, indexed.chunk_count)
        elif counted.document is not None and counted.due:
            transaction.emit(progress_of(counted.document))
        if counted.batch is not None:
            chunks, released_at = counted.batch
            await SpeedRepository(transaction.session).note_chunks(chunks, released_at)

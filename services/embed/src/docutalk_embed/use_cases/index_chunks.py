"""Embed a batch of chunks, store it, and say so; the last batch of a version makes that version findable."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChunksIndexed, DocumentIndexed
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.batcher import Lane, MicroBatcher
from docutalk_embed.adapters.repository import DocumentRepository, is_stale
from docutalk_embed.domain import UnstorableText, is_storable


async def index_chunks(work: IndexChunks, delivery: Delivery, batcher: MicroBatcher) -> None:
    """Leaves the same chunks however often and in whatever order the batches come. Raises `UnstorableText`."""
    for chunk in work.chunks:
        if not is_storable(chunk.text):
            raise UnstorableText(chunk.ordinal)
    assert delivery.db is not None
    async with delivery.db.read() as session:
        # Asked again below, under the lock: here it spares the minutes that the rest of a deleted book would take.
        if await is_stale(session, work.document_id, work.version):
            return
    vectors = await batcher.embed([chunk.text for chunk in work.chunks], Lane.BULK)
    async with delivery.transaction() as transaction:
        documents = DocumentRepository(transaction)
        state = await documents.lock(work.document_id, work.workspace_id, work.version)
        if state.deleted or work.version < state.version:
            return
        chunks_done, batches_done = state.chunks_done, state.batches_done
        if work.version > state.version:
            await documents.begin_version(work.document_id, work.version, state.live_version)
            chunks_done = batches_done = 0
        if await documents.add_batch(work, vectors):
            chunks_done += len(work.chunks)
            batches_done += 1
            if batches_done == work.batch_count:
                await documents.withdraw(work.document_id, work.workspace_id, state)
                await documents.make_live(work.document_id, work.workspace_id, work.version, chunks_done)
                transaction.emit(
                    DocumentIndexed(
                        workspace_id=work.workspace_id,
                        document_id=work.document_id,
                        version=work.version,
                        chunk_count=chunks_done,
                    )
                )
        transaction.emit(
            ChunksIndexed(
                workspace_id=work.workspace_id,
                document_id=work.document_id,
                version=work.version,
                chunks_done=chunks_done,
                chunk_count=work.chunk_count,
            )
        )

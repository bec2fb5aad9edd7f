"""Embed a batch of chunks, store it, and say so; the last batch of a version makes that version findable."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChunksIndexed, DocumentIndexed
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Transaction
from docutalk_common.errors import TransientError
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.batcher import Lane, Vectors
from docutalk_embed.adapters.document_repository import DocumentRepository, find_state, has_batch
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.domain import UnstorableText, is_storable


async def index_chunks(work: IndexChunks, delivery: Delivery, registry: ModelRegistry, lane: Lane = Lane.BULK) -> None:
    """Leaves the same chunks however often and in whatever order the batches come. Raises `UnstorableText`."""
    for chunk in work.chunks:
        if not is_storable(chunk.text):
            raise UnstorableText(chunk.ordinal)
    assert delivery.db is not None
    async with delivery.db.read() as session:
        # Asked again below, under the lock: here it spares the minutes that the rest of a deleted book would take.
        state = await find_state(session, work.document_id)
        if state is not None and state.refuses(work):
            return
        is_stored = state is not None and not state.is_replaced_by(work) and await has_batch(session, work)
    vectors = None if is_stored else await registry.built_in.embed([chunk.text for chunk in work.chunks], lane)
    async with delivery.transaction() as transaction:
        await _store(transaction, work, delivery, vectors)


async def _store(transaction: Transaction, work: IndexChunks, delivery: Delivery, vectors: Vectors | None) -> None:
    documents = DocumentRepository(transaction)
    state = await documents.lock(work.document_id, work.workspace_id)
    if state.refuses(work):
        return
    is_told_again = state.is_live and work.attempt > state.attempt
    if state.is_replaced_by(work):
        state = await documents.begin(work, state)
        is_told_again = False
    elif work.attempt > state.attempt:
        await documents.go_on(work.document_id, work.attempt)
    await documents.rename(work.document_id, work.filename, delivery.envelope.time)
    chunks_done, batches_done = state.chunks_done, state.batches_done
    is_complete = False
    if not await has_batch(transaction.session, work):
        if vectors is None:
            raise TransientError("the batch was stored, and is gone since: it is embedded again")
        await documents.add_batch(work, vectors)
        chunks_done += len(work.chunks)
        batches_done += 1
        is_complete = batches_done == work.batch_count
    if is_complete:
        await documents.withdraw(work.document_id, work.workspace_id, state)
        await documents.make_live(work.document_id, work.workspace_id, work.version, chunks_done)
    about = work.model_dump(include={"workspace_id", "document_id", "version"})
    # Again for an attempt that finds everything stored: ingest has lost the first one, or it would not have tried again.
    if is_complete or is_told_again:
        transaction.emit(DocumentIndexed(**about, chunk_count=chunks_done))
    done = ChunksIndexed(**about, batch=work.batch, attempt=work.attempt, chunks_done=chunks_done, chunk_count=work.chunk_count)
    transaction.emit(done)

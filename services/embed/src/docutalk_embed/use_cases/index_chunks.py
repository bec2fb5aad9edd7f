"""Embed a batch of chunks, store it, and say so; the last batch of a version makes that version findable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from docutalk_common import telemetry
from docutalk_common.contracts.embed import ChunksIndexed, DocumentIndexed
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Transaction
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.document_repository import DocumentRepository, find_state, has_batch
from docutalk_embed.adapters.erasure_repository import is_erased
from docutalk_embed.adapters.gazetteer import places_in
from docutalk_embed.adapters.model_changes import ModelChanges, find_companion
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry, Vectors, find_serving
from docutalk_embed.adapters.place_repository import keep_places, store_mentions
from docutalk_embed.domain import UnstorableText, is_storable
from docutalk_embed.domain.places import GazetteerPlace

log = telemetry.get_logger(__name__)

PATIENCE_SECONDS = 5.0
"""How long a batch waits for the model that follows, once it has the vectors of the one that serves."""
REST_SECONDS = 60.0
"""So long no batch waits after one has waited in vain: a model that is slower than documents come would delay each of them."""


class _VectorsMissing(Exception):
    """The batch must be stored, and there are no vectors of the model that serves by now."""

    def __init__(self, model: ModelRecord) -> None:
        self.model = model


async def index_chunks(
    work: IndexChunks,
    delivery: Delivery,
    registry: ModelRegistry,
    lane: Lane = Lane.BULK,
    *,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Leaves the same chunks however often and in whatever order the batches come. Raises `UnstorableText`.

    While the model is being changed the vectors of both are stored. Only those of the serving one are indispensable: what is
    missing of the other, because it did not come within `patience` seconds after them, is filled in later.
    """
    for chunk in work.chunks:
        if not is_storable(chunk.text):
            raise UnstorableText(chunk.ordinal)
    assert delivery.db is not None
    texts = [chunk.text for chunk in work.chunks]
    async with delivery.db.read() as session:
        # Asked again below, under the lock: here it spares the minutes that the rest of a deleted book would take.
        state = await find_state(session, work.document_id)
        if (state is not None and state.refuses(work)) or await is_erased(session, work.workspace_id):
            return
        is_stored = state is not None and not state.is_replaced_by(work) and await has_batch(session, work)
        serving, companion = await find_serving(session), await find_companion(session)
    clock = asyncio.get_running_loop().time
    if clock() < registry.companion_rests_until:
        companion = None
    # In a thread: a batch takes ten milliseconds, for which nothing else should wait.
    named = await asyncio.to_thread(places_in, work)
    await keep_places(delivery.db, named)
    vectors: dict[int, Vectors] = {}
    if not is_stored:
        beside = None if companion is None else asyncio.create_task(_embed(companion, texts, registry, lane), name="companion")
        try:
            vectors[serving.id] = await _embed(serving, texts, registry, lane)
        finally:
            if companion is not None and beside is not None:
                vectors |= await _in_time(companion, beside, patience if serving.id in vectors else 0.0)
                if beside.cancelled() and serving.id in vectors:
                    registry.companion_rests_until = clock() + REST_SECONDS
    while True:
        try:
            async with delivery.transaction() as transaction:
                await _store(transaction, work, delivery, vectors, named)
            return
        except _VectorsMissing as missing:
            # The model was switched in the meantime, or what an earlier delivery had stored was dropped.
            vectors[missing.model.id] = await _embed(missing.model, texts, registry, lane)


async def _embed(model: ModelRecord, texts: list[str], registry: ModelRegistry, lane: Lane) -> Vectors:
    return await (await registry.load(model)).embed_passages(texts, lane)


async def _in_time(model: ModelRecord, computing: asyncio.Task[Vectors], patience: float) -> dict[int, Vectors]:
    """The vectors of a model that nothing depends on, by its id; empty when they fail or are late."""
    try:
        await asyncio.wait({computing}, timeout=patience)
    finally:
        computing.cancel()
    [outcome] = await asyncio.gather(computing, return_exceptions=True)
    if isinstance(outcome, BaseException):
        log.warning("passages are stored without vectors of the model that follows", model=model.name, reason=repr(outcome))
        return {}
    return {model.id: outcome}


async def _store(
    transaction: Transaction,
    work: IndexChunks,
    delivery: Delivery,
    vectors: Mapping[int, Vectors],
    named: Sequence[Mapping[GazetteerPlace, int]],
) -> None:
    documents = DocumentRepository(transaction)
    state = await documents.lock(work.document_id, work.workspace_id)
    if state is None or state.refuses(work):
        return
    serving, following = await ModelChanges(transaction).share()
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
        if serving.id not in vectors:
            raise _VectorsMissing(serving)
        kept = [model for model in (serving, following) if model is not None and model.id in vectors]
        await documents.add_batch(work, {model.table: vectors[model.id] for model in kept})
        await store_mentions(transaction, work, named)
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

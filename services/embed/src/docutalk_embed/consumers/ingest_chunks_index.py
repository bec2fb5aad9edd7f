"""A batch of chunks to embed and store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.index_chunks import index_chunks


def ingest_chunks_index(registry: ModelRegistry) -> Callable[[IndexChunks, Delivery], Awaitable[None]]:
    """The handler of `embed-chunks-index`."""

    async def handle(work: IndexChunks, delivery: Delivery) -> None:
        await index_chunks(work, delivery, registry)

    return handle

"""A batch of chunks that does not wait behind the bulk of other workspaces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import IndexChunksExpress
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.index_chunks import index_chunks


def ingest_chunks_express(registry: ModelRegistry) -> Callable[[IndexChunksExpress, Delivery], Awaitable[None]]:
    """The handler of `embed-chunks-express`."""

    async def handle(work: IndexChunksExpress, delivery: Delivery) -> None:
        await index_chunks(work, delivery, registry, Lane.EXPRESS)

    return handle

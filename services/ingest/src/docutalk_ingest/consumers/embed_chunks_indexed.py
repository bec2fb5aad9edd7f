"""Embed has stored a batch of chunks."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChunksIndexed
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.record_progress import record_progress


async def embed_chunks_indexed(indexed: ChunksIndexed, delivery: Delivery) -> None:
    """The handler of `ingest-chunks-indexed`."""
    await record_progress(indexed, delivery)

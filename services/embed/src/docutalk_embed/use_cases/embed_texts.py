"""Turn texts into vectors for another service."""

from __future__ import annotations

from docutalk_common.contracts.embed import Embeddings, EmbedTexts

from docutalk_embed.adapters.batcher import Lane, MicroBatcher
from docutalk_embed.domain import MAX_TEXTS, InvalidQuery, clean_text


async def embed_texts(request: EmbedTexts, batcher: MicroBatcher) -> Embeddings:
    """Raises `InvalidQuery` for more than 256 texts."""
    if len(request.texts) > MAX_TEXTS:
        raise InvalidQuery(f"{len(request.texts)} texts were given; at most {MAX_TEXTS} are embedded at once")
    vectors = await batcher.embed([clean_text(text) for text in request.texts], Lane.INTERACTIVE)
    return Embeddings(model=batcher.engine.name, vectors=vectors.tolist())

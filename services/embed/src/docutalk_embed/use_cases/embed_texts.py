"""Turn texts into vectors for another service."""

from __future__ import annotations

from docutalk_common.contracts.embed import Embeddings, EmbedTexts

from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.domain import MAX_TEXTS, InvalidQuery, clean_text


async def embed_texts(request: EmbedTexts, registry: ModelRegistry) -> Embeddings:
    """Always by the built-in model: askers compare these vectors with each other, and it costs no call over the network.

    Raises `InvalidQuery` for more than 256 texts.
    """
    if len(request.texts) > MAX_TEXTS:
        raise InvalidQuery(f"{len(request.texts)} texts were given; at most {MAX_TEXTS} are embedded at once")
    vectors = await registry.built_in.embed([clean_text(text) for text in request.texts], Lane.INTERACTIVE)
    return Embeddings(model=registry.built_in.engine.name, vectors=vectors.tolist())

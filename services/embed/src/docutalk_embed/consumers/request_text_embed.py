"""What are the vectors of these texts?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import Embeddings, EmbedTexts
from docutalk_common.db import Cause

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.embed_texts import embed_texts


def request_text_embed(registry: ModelRegistry) -> Callable[[EmbedTexts, Cause], Awaitable[Embeddings]]:
    """The answerer of `rpc.embed.v1.text.embed`."""

    async def answer(request: EmbedTexts, _cause: Cause) -> Embeddings:
        return await embed_texts(request, registry)

    return answer

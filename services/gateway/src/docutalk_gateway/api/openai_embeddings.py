"""`/v1/embeddings`: vectors of texts, by the installation's built-in model."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Iterator

from docutalk_common.contracts.embed import Embeddings, EmbedTexts
from docutalk_common.process import cancel_all
from fastapi import APIRouter

from docutalk_gateway.api import openai_shapes as shapes
from docutalk_gateway.api.context import Caller, SignedIn
from docutalk_gateway.api.openai_errors import RESPONSES, BadRequest
from docutalk_gateway.api.openai_models import model_not_found
from docutalk_gateway.api.permissions import RULES
from docutalk_gateway.api.workspace_choice import UnknownWorkspace, choose_workspace

router = APIRouter(tags=["openai"], responses=RESPONSES)

TEXTS_MAX = 2048
# Far more than any model reads of one text.
TEXT_MAX = 100_000
# With their vectors a quarter of what a message may hold; and so many characters are at most half of it.
TEXTS_AT_ONCE = 64
CHARACTERS_AT_ONCE = 250_000
# Searches wait for the same model.
REQUESTS_AT_ONCE = 4
EMBED_SECONDS = 60.0


@router.post("/v1/embeddings")
async def create_embeddings(caller: SignedIn, body: shapes.EmbeddingsRequest) -> shapes.EmbeddingList:
    """A unit vector for each text. `model` is the embedding model's name, or a workspace's id or name."""
    first, *others = _batches(_texts(body))
    vectors = await _embed(caller, first)
    await _check_model(caller, body, vectors)
    slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def embed_others(texts: list[str]) -> Embeddings:
        async with slots:
            return await _embed(caller, texts)

    tasks = [asyncio.ensure_future(embed_others(texts)) for texts in others]
    try:
        rest = await asyncio.gather(*tasks)
    finally:
        await cancel_all(tasks)
    found = vectors.vectors + [vector for answer in rest for vector in answer.vectors]
    words = sum(len(text.split()) for text in _texts(body))
    return shapes.EmbeddingList(
        data=[
            shapes.EmbeddingVector(index=index, embedding=_base64(vector) if body.encoding_format == "base64" else vector)
            for index, vector in enumerate(found)
        ],
        model=vectors.model,
        usage=shapes.EmbeddingUsage(prompt_tokens=words, total_tokens=words),
    )


def _texts(body: shapes.EmbeddingsRequest) -> list[str]:
    given = [body.input] if isinstance(body.input, str) else body.input
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        raise BadRequest("Send texts: tokens of another model mean nothing to this one.", param="input")
    if not 1 <= len(texts) <= TEXTS_MAX:
        raise BadRequest(f"Send 1 to {TEXTS_MAX:,} texts; these are {len(texts):,}.", param="input")
    if not all(text.strip() for text in texts):
        raise BadRequest("An empty text has no vector.", param="input")
    longest = max(len(text) for text in texts)
    if longest > TEXT_MAX:
        raise BadRequest(f"A text may have {TEXT_MAX:,} characters; one has {longest:,}.", param="input")
    return texts


def _batches(texts: list[str]) -> Iterator[list[str]]:
    """As few as the limits allow, in order; each has a text at least."""
    batch: list[str] = []
    for text in texts:
        if len(batch) == TEXTS_AT_ONCE or (batch and sum(map(len, batch)) + len(text) > CHARACTERS_AT_ONCE):
            yield batch
            batch = []
        batch.append(text)
    yield batch


async def _embed(caller: Caller, texts: list[str]) -> Embeddings:
    return await caller.gateway.broker.requests.ask(
        "rpc.embed.v1.text.embed", EmbedTexts(texts=texts), Embeddings, cause=caller.cause, timeout=EMBED_SECONDS
    )


async def _check_model(caller: Caller, body: shapes.EmbeddingsRequest, vectors: Embeddings) -> None:
    """Only the answer tells the model's name and dimension."""
    if body.model != vectors.model:
        try:
            await choose_workspace(caller, body.model, RULES["create_embeddings"])
        except UnknownWorkspace:
            raise model_not_found(f"There is no embedding model {body.model[:200]!r}. There is: {vectors.model}.") from None
    dimension = len(vectors.vectors[0])
    if body.dimensions is not None and body.dimensions != dimension:
        raise BadRequest(f"Vectors of {vectors.model} have {dimension} dimensions: leave dimensions out.", param="dimensions")


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

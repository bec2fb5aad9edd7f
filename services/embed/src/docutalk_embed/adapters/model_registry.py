"""The models that vectors come from: their rows in PostgreSQL, and those that are loaded in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from docutalk_common.contracts.embed import Distance, ModelProvider
from docutalk_common.errors import RequestFailed
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.batcher import Lane, MicroBatcher

Vectors = npt.NDArray[np.float32]

BUILT_IN_ID = 1

_COLUMNS = "m.id, m.name, m.provider, m.provider_model, m.dimension, m.distance, m.query_prefix, m.passage_prefix, m.max_tokens"


@dataclass(frozen=True)
class ModelRecord:
    """A row of `models`. `id` is part of the name of the table with its vectors."""

    id: int
    name: str
    provider: ModelProvider
    provider_model: str
    dimension: int
    distance: Distance
    query_prefix: str
    passage_prefix: str
    max_tokens: int

    @property
    def table(self) -> str:
        """The table of its vectors."""
        return f"embeddings_{self.id:d}"


class Embedder(Protocol):
    """Whatever turns texts into vectors; it knows nothing of prefixes."""

    async def embed(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """Vectors [n, dimension] of n texts, in their order. Raises `RequestFailed` (`unavailable`), `DependencyUnavailable`."""
        ...


@dataclass(frozen=True)
class Model:
    """A model that can be asked. Vectors are unit vectors when its distance is the cosine, as the provider gives them else."""

    record: ModelRecord
    embedder: Embedder

    async def embed_query(self, query: str) -> Vectors:
        """The vector [dimension] of a query, ahead of everything else."""
        vectors = _compared(self.record, await self.embedder.embed([self.record.query_prefix + query], Lane.QUERY))
        vector: Vectors = vectors[0]
        return vector

    async def embed_passages(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """Vectors [n, dimension] of n passages."""
        return _compared(self.record, await self.embedder.embed([self.record.passage_prefix + text for text in texts], lane))


def _compared(record: ModelRecord, vectors: Vectors) -> Vectors:
    if record.distance is Distance.DOT:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


Opener = Callable[[ModelRecord], AbstractAsyncContextManager[Embedder]]
"""Makes what computes a model's vectors, for as long as the block lasts. Raises `RequestFailed` (`unavailable`) with what is
missing."""


class ModelRegistry:
    """Models are loaded when they are first asked for, and stay until they are forgotten."""

    def __init__(self, built_in: MicroBatcher, openers: Mapping[ModelProvider, Opener] | None = None) -> None:
        """`built_in` is run by whoever made it; `openers` make what the other providers need."""
        self.built_in = built_in
        self._openers = openers or {}
        self._loaded: dict[ModelRecord, tuple[Model, contextlib.AsyncExitStack]] = {}
        self._loading = asyncio.Lock()

    async def load(self, record: ModelRecord) -> Model:
        """The model behind a row. Raises `RequestFailed` (`unavailable`) with what is missing when it cannot be loaded here."""
        if record.provider is ModelProvider.BUILT_IN:
            return Model(record, self.built_in)
        if found := self._loaded.get(record):
            return found[0]
        async with self._loading:
            if found := self._loaded.get(record):
                return found[0]
            opener = self._openers.get(record.provider)
            if opener is None:
                raise RequestFailed("unavailable", f"the model {record.name} cannot be loaded here")
            async with contextlib.AsyncExitStack() as stack:
                model = Model(record, await stack.enter_async_context(opener(record)))
                self._loaded[record] = model, stack.pop_all()
            return model

    async def forget(self, record: ModelRecord) -> None:
        """Frees what a model holds; it may be loaded again."""
        if found := self._loaded.pop(record, None):
            await found[1].aclose()

    async def close(self) -> None:
        """Frees what all loaded models hold."""
        for record in list(self._loaded):
            await self.forget(record)


async def find_serving(session: AsyncSession) -> ModelRecord:
    """The model that searches use, as this transaction sees it."""
    row = (await session.execute(text(f"SELECT {_COLUMNS} FROM serving JOIN models m ON m.id = serving.model_id"))).one()  # noqa: S608
    return _record(row)


async def find_following(session: AsyncSession) -> ModelRecord | None:
    """The other model of the change that is open: kept up to date, but not asked. None without one."""
    found = await session.execute(
        text(
            f"SELECT {_COLUMNS} FROM model_changes c, serving s, models m"  # noqa: S608
            " WHERE c.ended_at IS NULL AND m.id IN (c.from_model, c.to_model) AND m.id <> s.model_id"
        )
    )
    row = found.first()
    return None if row is None else _record(row)


def _record(row: Sequence[object]) -> ModelRecord:
    id_, name, provider, provider_model, dimension, distance, query_prefix, passage_prefix, max_tokens = row
    return ModelRecord(
        int(str(id_)),
        str(name),
        ModelProvider(str(provider)),
        str(provider_model),
        int(str(dimension)),
        Distance(str(distance)),
        str(query_prefix),
        str(passage_prefix),
        int(str(max_tokens)),
    )

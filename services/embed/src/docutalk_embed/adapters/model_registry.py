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
from docutalk_common.errors import DependencyUnavailable, DocuTalkError, RequestFailed
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.batcher import Lane, MicroBatcher

Vectors = npt.NDArray[np.float32]

BUILT_IN_ID = 1
MODEL_DEPENDENCY = "model"
"""What consumers wait for while the serving model cannot be asked."""

KEPT_MODELS = 2
"""So many models are kept loaded, beside the built-in one: those of a change. Others hold memory that nobody uses any more."""
LARGEST = 65_504.0
"""The largest number of half precision, in which vectors are stored."""

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


class ModelUnavailable(DependencyUnavailable, RequestFailed):
    """A model cannot be asked now. Work waits for it (it is a dependency), askers are told `unavailable` with the reason: a
    sentence that names the model and says what to do."""

    code = "unavailable"

    def __init__(self, reason: str) -> None:
        DocuTalkError.__init__(self, reason)
        self.dependency = MODEL_DEPENDENCY
        self.told = reason


class Embedder(Protocol):
    """Whatever turns texts into vectors; it knows nothing of prefixes."""

    async def embed(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """Vectors [n, dimension] of n texts, in their order. Raises `ModelUnavailable`; `RequestFailed` (`unavailable`) when too
        many urgent texts wait."""
        ...


@dataclass(frozen=True)
class Model:
    """A model that can be asked. Vectors are unit vectors when its distance is the cosine, as the provider gives them else.

    Both methods raise `ModelUnavailable` also when the provider answers with something else than such vectors.
    """

    record: ModelRecord
    embedder: Embedder

    async def embed_query(self, query: str) -> Vectors:
        """The vector [dimension] of a query, ahead of everything else."""
        vectors = await self._embed([self.record.query_prefix + query], Lane.QUERY)
        vector: Vectors = vectors[0]
        return vector

    async def embed_passages(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """Vectors [n, dimension] of n passages."""
        return await self._embed([self.record.passage_prefix + text for text in texts], lane)

    async def _embed(self, texts: Sequence[str], lane: Lane) -> Vectors:
        vectors = np.asarray(await self.embedder.embed(texts, lane), np.float32)
        if fault := _fault(vectors, len(texts), self.record.dimension):
            raise ModelUnavailable(
                f"The model {self.record.name} answered with {fault}. Check that its provider runs this model."
            )
        if self.record.distance is Distance.DOT:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _fault(vectors: Vectors, count: int, dimension: int) -> str | None:
    """What is wrong with the vectors of so many texts; None when they are as they should be."""
    if vectors.ndim != 2 or len(vectors) != count:
        return f"{len(vectors)} vectors for {count} texts"
    if count and vectors.shape[1] != dimension:
        return f"vectors of {vectors.shape[1]:,} numbers; it is registered with {dimension:,}"
    if not np.isfinite(vectors).all():
        return "vectors that are no numbers (NaN or infinite)"
    if count and np.abs(vectors).max() > LARGEST:
        return f"vectors with numbers beyond {LARGEST:,.0f}, the largest that can be stored"
    return None


Opener = Callable[[ModelRecord], AbstractAsyncContextManager[Embedder]]
"""Makes what computes a model's vectors, for as long as the block lasts. Raises `ModelUnavailable` with what is missing."""
Check = Callable[[ModelRecord], str | None]
"""Says in a sentence why a model cannot be opened here; None when nothing is known to be missing. It asks no endpoint."""


class ModelRegistry:
    """Models are loaded when they are first asked for, and stay until they are forgotten, or others are asked for."""

    def __init__(
        self, built_in: MicroBatcher, openers: Mapping[ModelProvider, Opener] | None = None, check: Check | None = None
    ) -> None:
        """`built_in` is run by whoever made it; `openers` make what the other providers need, `check` knows what that is."""
        self.built_in = built_in
        self._openers = openers or {}
        self._check = check or (lambda _: None)
        self._loaded: dict[ModelRecord, tuple[Model, contextlib.AsyncExitStack]] = {}
        self._loading: dict[ModelRecord, asyncio.Task[Model]] = {}
        self._turn = asyncio.Lock()
        self.last_serving: ModelRecord | None = None
        """The model with which searches embed their queries: each of them checks whether it still serves."""
        self.companion_rests_until = 0.0
        """By the loop's clock. Until then batches do not ask the model that follows, as one has waited for it in vain."""

    async def load(self, record: ModelRecord) -> Model:
        """The model behind a row. Raises `ModelUnavailable` with what is missing when it cannot be loaded here.

        Loading goes on when who asked for it gives up: it may take longer than anybody waits, and the next one finds it done.
        """
        if record.provider is ModelProvider.BUILT_IN:
            return Model(record, self.built_in)
        if found := self._loaded.pop(record, None):
            self._loaded[record] = found  # Asked for last.
            return found[0]
        loading = self._loading.get(record)
        if loading is None:
            loading = self._loading[record] = asyncio.create_task(self._load(record), name=f"loading {record.name}")
            loading.add_done_callback(lambda _: self._loading.pop(record, None))
        return await asyncio.shield(loading)

    async def _load(self, record: ModelRecord) -> Model:
        async with self._turn, contextlib.AsyncExitStack() as stack:
            model = Model(record, await stack.enter_async_context(self.opened(record)))
            self._loaded[record] = model, stack.pop_all()
            for other in list(self._loaded)[:-KEPT_MODELS]:
                await self.forget(other)
        return model

    def opened(self, record: ModelRecord) -> AbstractAsyncContextManager[Embedder]:
        """What computes the vectors of a model, for the block only: for one that need not be registered. Raises
        `ModelUnavailable`."""
        opener = self._openers.get(record.provider)
        if opener is None:
            raise ModelUnavailable(self.missing(record) or "")
        return opener(record)

    def missing(self, record: ModelRecord) -> str | None:
        """Why a model cannot be loaded here, in a sentence; None when nothing is known to be missing. Loads nothing."""
        if record.provider is not ModelProvider.BUILT_IN and record.provider not in self._openers:
            return f"The model {record.name} needs the provider {record.provider}, which is not set up here."
        return self._check(record)

    async def forget(self, record: ModelRecord) -> None:
        """Frees what a model holds; it may be loaded again."""
        if found := self._loaded.pop(record, None):
            await found[1].aclose()

    async def close(self) -> None:
        """Frees what all loaded models hold. Nobody may be waiting for one."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for record in list(self._loaded):
            await self.forget(record)


async def find_serving(session: AsyncSession) -> ModelRecord:
    """The model that searches use, as this transaction sees it."""
    row = (await session.execute(text(f"SELECT {_COLUMNS} FROM serving JOIN models m ON m.id = serving.model_id"))).one()  # noqa: S608
    return _record(row)


async def find_model(session: AsyncSession, name: str) -> ModelRecord | None:
    """The model of that name; None when none is registered."""
    found = await session.execute(text(f"SELECT {_COLUMNS} FROM models m WHERE m.name = :name"), {"name": name})  # noqa: S608
    row = found.first()
    return None if row is None else _record(row)


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

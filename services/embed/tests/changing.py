"""An installation of its own that changes its model, with models made of words that can be held up and be away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

import numpy as np
from docutalk_common.contracts.embed import ChangeStep, ListChanges, ModelChange, ModelProvider, StartChange, StepChange
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.db import Cause, Database, outbox
from docutalk_common.testing.embeddings_server import vector_of
from docutalk_embed.adapters.batcher import Lane, MicroBatcher
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry, ModelUnavailable, Vectors
from docutalk_embed.adapters.vector_filler import VectorFiller
from docutalk_embed.use_cases.list_changes import list_changes
from docutalk_embed.use_cases.start_change import start_change
from docutalk_embed.use_cases.step_change import step_change
from sqlalchemy import select, text

from .conftest import Indexed

OLD, NEW = "all-MiniLM-L6-v2", "words-48"
DIMENSIONS = {OLD: 384, NEW: 48, "words-32": 32}


class WordModel:
    """Texts that share words are alike. While `open` is not set it answers nobody; while `away` is set it answers with that."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.asked: list[str] = []
        self.lanes: set[Lane] = set()
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.away: str | None = None
        self.poison: str | None = None
        """A word that it refuses to read."""

    async def is_asked(self) -> None:
        """Waits until it is asked."""
        async with asyncio.timeout(20):
            await self.entered.wait()

    async def embed(self, texts: Sequence[str], lane: Lane) -> Vectors:
        self.asked += texts
        self.lanes.add(lane)
        self.entered.set()
        await self.open.wait()
        if self.away is not None:
            raise ModelUnavailable(self.away)
        if self.poison is not None and any(self.poison in text for text in texts):
            raise ModelUnavailable("the endpoint did not accept the texts (400)")
        return np.array([vector_of(text, self.dimension) for text in texts], np.float32)


class Installation:
    """Embed without a broker, and with these models, as the app role. Nothing else is in its database."""

    def __init__(self, db: Database, batcher: MicroBatcher) -> None:
        self.db = db
        self.models: Mapping[str, WordModel] = {name: WordModel(dimension) for name, dimension in DIMENSIONS.items()}
        self.registry = ModelRegistry(batcher, {ModelProvider.OPENAI: self._opened})
        self.indexed = Indexed(db, self.registry)
        self.filler = VectorFiller(db, self.registry)

    @contextlib.asynccontextmanager
    async def _opened(self, record: ModelRecord) -> AsyncIterator[WordModel]:
        yield self.models[record.name]

    def process(self) -> Installation:
        """Another process of the same installation, with the same models."""
        other = Installation(self.db, self.registry.built_in)
        other.models = self.models
        other.indexed = self.indexed
        return other

    async def begin(self) -> None:
        """Empties the database, and registers the models; the first of them serves."""
        async with self.db.transaction(Cause.new()) as transaction:
            run = transaction.session.execute
            for table in ("chunks", "documents", "index_batches", "workspaces", "lexemes", "outbox", "model_changes"):
                await run(text(f"DELETE FROM {table}"))
            await run(text("UPDATE serving SET model_id = 1"))
            await run(text("SELECT drop_embeddings(id) FROM models WHERE id > 1"))
            await run(text("SELECT create_embeddings(1::smallint) WHERE to_regclass('embeddings_1') IS NULL"))
            await run(text("DELETE FROM models WHERE id > 1"))
            await run(text("UPDATE models SET provider = 'openai', provider_model = name, distance = 'cosine'"))
            for name, model in self.models.items():
                if name != OLD:
                    await run(
                        text(
                            "INSERT INTO models (name, provider, provider_model, dimension) VALUES (:name, 'openai', :name, :d)"
                        ),
                        {"name": name, "d": model.dimension},
                    )

    async def start(self, model: str = NEW) -> ModelChange:
        """Starts a change."""
        return await start_change(StartChange(to_model=model), self.db, Cause.new())

    async def step(self, step: ChangeStep) -> ModelChange:
        """Moves the newest change on."""
        change = await self.change()
        return await step_change(StepChange(change_id=change.change_id, step=step), self.db, self.registry, Cause.new())

    async def changes(self) -> list[ModelChange]:
        """All changes, newest first."""
        return (await list_changes(ListChanges(), self.db)).items

    async def change(self) -> ModelChange:
        """The newest change."""
        return (await self.changes())[0]

    async def fill(self) -> None:
        """As a filler that has just started, until nothing is left to do."""
        filler = VectorFiller(self.db, self.registry)
        while await filler.turn():
            pass

    async def complete(self, model: str = NEW) -> None:
        """A change that may be switched."""
        await self.start(model)
        await self.fill()

    async def vectors(self, model: str) -> set[UUID]:
        """The chunks that have a vector of a model; of the dimension of that model, as the column's type makes sure."""
        async with self.db.read() as session:
            table = await session.scalar(
                text("SELECT to_regclass('embeddings_' || id)::text FROM models WHERE name = :name"), {"name": model}
            )
            if table is None:
                return set()
            return {row[0] for row in await session.execute(text(f"SELECT chunk_id FROM {table}"))}

    async def chunks(self) -> set[UUID]:
        """All chunks."""
        async with self.db.read() as session:
            return {row[0] for row in await session.execute(text("SELECT chunk_id FROM chunks"))}

    async def has_table(self, model: str) -> bool:
        """Whether there is a table for a model's vectors."""
        async with self.db.read() as session:
            found = await session.scalar(
                text("SELECT to_regclass('embeddings_' || id) IS NOT NULL FROM models WHERE name = :name"), {"name": model}
            )
            return bool(found)

    async def serving(self) -> str:
        """The model that searches use."""
        async with self.db.read() as session:
            return str(await session.scalar(text("SELECT name FROM models JOIN serving ON model_id = id")))

    async def switches(self) -> list[Envelope]:
        """The events that tell of switches, oldest first."""
        async with self.db.read() as session:
            rows = await session.execute(select(outbox.c.payload).order_by(outbox.c.id))
            envelopes = [Envelope.model_validate_json(payload) for (payload,) in rows]
        return [envelope for envelope in envelopes if envelope.type == "embed.model.switched.v1"]

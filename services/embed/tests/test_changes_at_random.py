"""Documents come, change and go, people search, and the model is changed, all at once and at random."""

from __future__ import annotations

import asyncio
import contextlib
import random
from uuid import UUID

import numpy as np
import pytest
from docutalk_common.contracts.embed import ChangeState, ChangeStep, SearchMode, SearchPassages
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed
from docutalk_common.process import cancel_all
from docutalk_common.testing.embeddings_server import vector_of
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.model_changes import count_missing
from docutalk_embed.adapters.model_registry import ModelUnavailable, find_serving
from docutalk_embed.use_cases.search_passages import search_passages

from .changing import DIMENSIONS, Installation
from .conftest import Indexed

NOUNS = ("pump", "valve", "garden", "tax", "bridge", "river", "school", "engine", "roof", "ledger")
STEPS = 40
"""Of the change of model, at least; it goes on, and so does everything else, until searches have met two models."""


class Storm:
    """What the workers share. Choices come from one seed; what they meet is up to the scheduler."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self.installation = installation
        self.workspaces = [Indexed(installation.db, installation.registry) for _ in range(2)]
        self.documents: list[tuple[Indexed, UUID, int]] = []
        self.seed = seed
        self.is_over = False
        self.models_found: set[str] = set()

    def text(self, dice: random.Random) -> str:
        return f"The {dice.choice(NOUNS)} and the {dice.choice(NOUNS)} number {dice.randrange(1000)}."

    async def change_documents(self, dice: random.Random) -> None:
        """A new document, a new version of one, or one that goes away; its batches in any order, some of them twice."""
        while not self.is_over:
            indexed, document_id, version = (
                (dice.choice(self.workspaces), None, 1)
                if len(self.documents) < 8 or dice.random() < 0.4
                else self.documents.pop(dice.randrange(len(self.documents)))
            )
            if document_id is not None and dice.random() < 0.6:
                await indexed.delete(document_id, version=version)
                continue
            texts = [self.text(dice) for _ in range(dice.randrange(1, 7))]
            later = version + 1 if document_id is not None else 1
            batches = indexed.batches(texts, document_id=document_id, version=later, size=2)
            document_id = batches[0].document_id
            dice.shuffle(batches)
            for work in batches:
                await self.index(indexed, work)
            if dice.random() < 0.1:
                await self.index(indexed, batches[0])
            if dice.random() < 0.1:
                await indexed.cancel(document_id, version=later)
            self.documents.append((indexed, document_id, later))

    async def index(self, indexed: Indexed, work: IndexChunks) -> None:
        """As its consumer does: what fails because a model is away comes again. The one that served a moment ago may be the one
        that follows now, and away."""
        while True:
            with contextlib.suppress(ModelUnavailable):
                await indexed.index(work)
                return
            await asyncio.sleep(0)

    async def search(self, dice: random.Random) -> None:
        """The cosines that come with the passages are those of the model that the answer names, and of no other."""
        while not self.is_over:
            query = f"{dice.choice(NOUNS)} {dice.choice(NOUNS)}"
            request = SearchPassages(
                workspace_id=dice.choice(self.workspaces).workspace_id, query=query, mode=SearchMode.SEMANTIC, merge=False
            )
            found = await search_passages(request, self.installation.db, self.installation.registry)
            for passage in found.passages:
                self.models_found.add(found.model)
                dimension = DIMENSIONS[found.model]
                expected = float(np.dot(vector_of(query, dimension), vector_of(passage.text, dimension)))
                assert passage.scores.semantic == pytest.approx(expected, abs=5e-3)
            await self.check()

    async def check(self) -> None:
        """At any moment every passage has a vector of the model that serves at that moment."""
        async with self.installation.db.read() as session:
            assert await count_missing(session, await find_serving(session)) == 0

    async def change_models(self, dice: random.Random) -> None:
        """Any step at any time; a new change when there is none. The model that follows is away now and then."""
        steps = 0
        while steps < STEPS or len(self.models_found) < 2:
            steps += 1
            await asyncio.sleep(dice.random() * 0.02)
            models = self.installation.models
            for model in models.values():
                model.away = None
            changes = await self.installation.changes()
            serving = await self.installation.serving()
            # What is not possible just now is refused; anything else would be an error.
            with contextlib.suppress(RequestFailed):
                if not changes or changes[0].ended_at is not None:
                    await self.installation.start(dice.choice([name for name in models if name != serving]))
                    continue
                change = changes[0]
                [following] = {change.from_model, change.to_model} - {serving}
                if dice.random() < 0.2:
                    models[following].away = "it is away"
                    continue
                # Those that end a change are rare, or no change would get far.
                step = dice.choices(list(ChangeStep), weights=[2, 4, 8, 3, 1, 1])[0]
                await self.installation.step(step)
        self.is_over = True


@pytest.fixture
async def installation(own_database: Database, batcher: MicroBatcher) -> Installation:
    """An empty installation with three models."""
    installation = Installation(own_database, batcher)
    await installation.begin()
    return installation


async def test_no_search_ever_mixes_models_and_no_passage_is_ever_without_a_vector_of_the_one_that_serves(
    installation: Installation,
) -> None:
    storm = Storm(installation, seed=4)
    fillers = [asyncio.create_task(process.filler.run()) for process in (installation, installation.process())]
    try:
        async with asyncio.timeout(100), asyncio.TaskGroup() as workers:
            for number, work in enumerate(
                (storm.change_documents, storm.change_documents, storm.search, storm.search, storm.change_models)
            ):
                workers.create_task(work(random.Random(f"{storm.seed} {number}")))
    finally:
        await cancel_all(fillers)
    for model in installation.models.values():
        model.away = None
    await storm.check()
    chunks = await installation.chunks()
    assert await installation.vectors(await installation.serving()) == chunks != set()

    # And whatever state the change was left in, it can be brought to its end.
    if (await installation.change()).ended_at is not None:
        [other, *_] = [name for name in installation.models if name != await installation.serving()]
        await installation.start(other)
    if (await installation.change()).state is ChangeState.PAUSED:
        await installation.step(ChangeStep.RESUME)
    await installation.fill()
    for model in {(await installation.change()).from_model, (await installation.change()).to_model}:
        assert await installation.vectors(model) == chunks
    if (await installation.change()).state is not ChangeState.SWITCHED:
        await installation.step(ChangeStep.SWITCH)
    await installation.step(ChangeStep.FINISH)
    await installation.fill()
    left = {name for name in installation.models if await installation.has_table(name)}
    assert left == {await installation.serving()}

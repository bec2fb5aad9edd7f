"""The filler of vectors: killed, paused, alone, with a model that is away, and with documents that come and go meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
from docutalk_common.contracts.embed import ChangeState, ChangeStep
from docutalk_common.db import Cause, Database
from docutalk_common.process import cancel_all, wait_until
from docutalk_embed.adapters.batcher import Lane, MicroBatcher
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.adapters.vector_filler import BATCH_SIZES, PROBE, REFUSALS, VectorFiller
from sqlalchemy import text

from .changing import NEW, OLD, Installation

SEVERAL_BATCHES = BATCH_SIZES[0] * 4
TEXTS = [f"Paragraph {number} speaks of pump {number} and of valves." for number in range(SEVERAL_BATCHES)]


@pytest.fixture
async def installation(own_database: Database, batcher: MicroBatcher) -> Installation:
    """An empty installation with three models."""
    installation = Installation(own_database, batcher)
    await installation.begin()
    return installation


@contextlib.asynccontextmanager
async def running(*fillers: VectorFiller) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Fillers as embed processes run them."""
    tasks = [asyncio.create_task(filler.run()) for filler in fillers]
    try:
        yield tasks
    finally:
        await cancel_all(tasks)


async def in_state(installation: Installation, state: ChangeState) -> None:
    async def reached() -> bool:
        return (await installation.change()).state is state

    await wait_until(reached, seconds=15, what=f"the change is {state.value}")


async def test_vectors_are_computed_behind_everything_else_and_only_those_that_are_missing(installation: Installation) -> None:
    await installation.indexed.add(TEXTS[:5])
    await installation.start()
    await installation.indexed.add(TEXTS[5:10])
    new = installation.models[NEW]
    new.asked.clear()
    new.lanes.clear()
    await installation.fill()
    assert new.lanes == {Lane.BACKGROUND}
    assert sorted(new.asked) == TEXTS[:5]


async def test_a_filler_that_is_killed_after_any_batch_is_followed_by_one_that_goes_on_there(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    new = installation.models[NEW]
    while (await installation.change()).state is ChangeState.RUNNING:
        await VectorFiller(installation.db, installation.registry).turn()
    assert sorted(new.asked) == sorted(TEXTS)
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_a_filler_that_is_killed_while_the_model_computes_loses_that_batch_only(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    assert await installation.filler.turn()
    new = installation.models[NEW]
    new.open.clear()
    new.entered.clear()
    turning = asyncio.create_task(installation.filler.turn())
    await new.is_asked()
    await cancel_all([turning])
    new.open.set()
    stored = len(await installation.vectors(NEW))
    new.asked.clear()
    await installation.fill()
    assert len(new.asked) == len(TEXTS) - stored < len(TEXTS)
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_pausing_takes_effect_after_the_batch_at_hand_and_resuming_goes_on_there(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    new = installation.models[NEW]
    new.open.clear()
    async with running(installation.filler):
        await new.is_asked()
        assert (await installation.step(ChangeStep.PAUSE)).state is ChangeState.PAUSED
        new.open.set()

        async def stored() -> bool:
            return bool(await installation.vectors(NEW))

        await wait_until(stored, seconds=10, what="the batch at hand is stored")
        turns = installation.process().filler
        assert not await turns.turn()
        assert len(new.asked) == BATCH_SIZES[0]
        assert (await installation.change()).passages_per_second is None
        await installation.step(ChangeStep.RESUME)
        await in_state(installation, ChangeState.COMPLETE)
    assert sorted(new.asked) == sorted(TEXTS)


async def test_while_the_model_is_away_the_change_says_why_and_it_goes_on_by_itself(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    new = installation.models[NEW]
    new.away = "the endpoint does not answer"
    async with running(installation.filler):

        async def told() -> bool:
            return (await installation.change()).reason == "the endpoint does not answer"

        await wait_until(told, seconds=10, what="the reason is told")
        change = await installation.change()
        assert (change.state, change.passages_done, change.eta_seconds) == (ChangeState.RUNNING, 0, None)
        # It rests in between, instead of asking as fast as it can.
        assert len(new.asked) <= 2 * BATCH_SIZES[0]
        new.away = None
        await in_state(installation, ChangeState.COMPLETE)
    assert (await installation.change()).reason is None


async def test_while_the_model_does_not_answer_at_all_the_change_says_so_and_documents_do_not_ask_it(
    installation: Installation,
) -> None:
    await installation.indexed.add(TEXTS[:3])
    await installation.start()
    new = installation.models[NEW]
    new.open.clear()
    turning = asyncio.create_task(VectorFiller(installation.db, installation.registry, silent_seconds=0.05).turn())

    async def told() -> bool:
        return (await installation.change()).reason == f"{NEW} has not answered for 0.05 s"

    await wait_until(told, seconds=10, what="the reason is told")
    await installation.indexed.add(TEXTS[3:6])
    assert len(new.asked) == 3
    new.open.set()
    await turning
    assert (await installation.change()).reason is None
    await installation.fill()
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_of_several_processes_one_fills_and_another_takes_over_when_it_dies(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    new = installation.models[NEW]
    new.open.clear()
    first, second = installation.filler, installation.process().filler
    async with running(first, second) as tasks:
        await installation.start()
        await new.is_asked()
        assert len(new.asked) == BATCH_SIZES[0]
        # Whichever of the two it is that works; the other one has nothing to lose.
        await cancel_all(tasks)
        async with running(installation.process().filler, installation.process().filler):
            new.open.set()
            await in_state(installation, ChangeState.COMPLETE)
    # The batch that was cut off is computed twice, no other.
    assert len(new.asked) == len(TEXTS) + BATCH_SIZES[0]
    assert set(new.asked) == set(TEXTS)


async def test_a_process_that_is_not_set_up_for_the_model_leaves_filling_to_one_that_is(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    stranger = VectorFiller(installation.db, ModelRegistry(installation.registry.built_in))
    async with running(stranger):

        async def told() -> bool:
            return "is not set up here" in ((await installation.change()).reason or "")

        await wait_until(told, seconds=10, what="it has tried and says what is missing")
        async with running(installation.filler):
            await in_state(installation, ChangeState.COMPLETE)
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_two_fillers_at_once_store_nothing_twice(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()

    async def fill(filler: VectorFiller) -> None:
        while await filler.turn():
            pass

    await asyncio.gather(fill(installation.filler), fill(installation.process().filler))
    await installation.fill()
    assert await installation.vectors(NEW) == await installation.chunks()
    change = await installation.change()
    assert (change.passages_done, change.passages_total) == (len(TEXTS), len(TEXTS))


async def test_a_passage_that_is_deleted_while_its_vector_is_computed_gets_none(installation: Installation) -> None:
    doomed = await installation.indexed.add(TEXTS[:3])
    await installation.indexed.add(TEXTS[3:6])
    await installation.start()
    new = installation.models[NEW]
    new.open.clear()
    turning = asyncio.create_task(installation.filler.turn())
    await new.is_asked()
    await installation.indexed.delete(doomed)
    new.open.set()
    await turning
    assert len(await installation.vectors(NEW)) == 3
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_a_passage_that_is_being_deleted_is_left_out_and_keeps_nobody_waiting(installation: Installation) -> None:
    await installation.indexed.add(TEXTS[:3])
    await installation.start()
    kept = sorted(await installation.chunks())
    async with installation.db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(text("DELETE FROM chunks WHERE chunk_id = :chunk"), {"chunk": kept.pop()})
        async with asyncio.timeout(10):
            assert await installation.filler.turn()
    assert sorted(await installation.vectors(NEW)) == kept


async def test_vectors_that_were_computed_for_a_change_that_ended_meanwhile_are_thrown_away(installation: Installation) -> None:
    await installation.indexed.add(TEXTS[:3])
    await installation.start()
    new = installation.models[NEW]
    new.open.clear()
    turning = asyncio.create_task(installation.filler.turn())
    await new.is_asked()
    await installation.step(ChangeStep.CANCEL)
    await installation.start()
    new.open.set()
    await turning
    assert await installation.vectors(NEW) == set()
    await installation.fill()
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_what_is_done_never_gets_less_and_never_exceeds_the_total_while_documents_come_and_go(
    installation: Installation,
) -> None:
    dice = random.Random(11)
    there = [await installation.indexed.add(TEXTS[:40]) for _ in range(6)]
    await installation.start()
    seen: list[tuple[int, int]] = []
    for _ in range(24):
        what = dice.random()
        if what < 0.3 and there:
            await installation.indexed.delete(there.pop(dice.randrange(len(there))))
        elif what < 0.5:
            there.append(await installation.indexed.add(TEXTS[: dice.randrange(1, 9)]))
        # A new one each time, which counts first.
        await VectorFiller(installation.db, installation.registry).turn()
        change = await installation.change()
        seen.append((change.passages_done, change.passages_total))
        if change.passages_per_second is not None:
            assert change.eta_seconds == pytest.approx(
                (change.passages_total - change.passages_done) / change.passages_per_second
            )
    assert seen == sorted(seen, key=lambda figures: figures[0])
    assert all(done <= total for done, total in seen)
    await installation.fill()
    change = await installation.change()
    assert change.state is ChangeState.COMPLETE
    assert change.passages_done == change.passages_total


async def test_after_the_switch_the_gaps_of_the_old_model_are_filled(installation: Installation) -> None:
    await installation.indexed.add(TEXTS[:3])
    async with running(installation.filler):
        await installation.start()
        await in_state(installation, ChangeState.COMPLETE)
        await installation.step(ChangeStep.SWITCH)
        installation.models[OLD].away = "the old model is away"
        await installation.indexed.add(TEXTS[3:6])
        assert len(await installation.vectors(OLD)) == 3
        installation.models[OLD].away = None

        async def whole() -> bool:
            return await installation.vectors(OLD) == await installation.chunks()

        await wait_until(whole, seconds=10, what="the old model has every vector")
        await installation.step(ChangeStep.FINISH)

        async def dropped() -> bool:
            return not await installation.has_table(OLD)

        await wait_until(dropped, seconds=10, what="the old vectors are dropped")


async def test_a_passage_that_the_model_never_takes_keeps_no_change_from_being_complete(installation: Installation) -> None:
    texts = [*TEXTS[:40], "Paragraph 40 holds arsenic.", *TEXTS[41:]]
    await installation.indexed.add(texts)
    await installation.start()
    new = installation.models[NEW]
    new.poison = "arsenic"
    filler = VectorFiller(installation.db, installation.registry, rest_seconds=(0.0, 0.0))
    async with asyncio.timeout(30):
        while await installation.vectors(NEW) != await installation.chunks():
            await filler.turn()
    await installation.step(ChangeStep.SWITCH)
    assert (await installation.indexed.search("arsenic")).passages[0].text == texts[40]
    async with installation.db.read() as session:
        table = await session.scalar(text("SELECT 'embeddings_' || id FROM models WHERE name = :name"), {"name": NEW})
        nowhere = await session.execute(
            text(f"SELECT c.text FROM {table} JOIN chunks c USING (chunk_id) WHERE l2_norm(embedding) = 0")
        )
        assert [row[0] for row in nowhere] == [texts[40]]


async def test_no_passage_is_given_up_while_the_model_takes_nothing_at_all(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    new = installation.models[NEW]
    new.away = "the endpoint does not answer"
    filler = VectorFiller(installation.db, installation.registry, rest_seconds=(0.0, 0.0))
    async with asyncio.timeout(30):
        while new.asked.count(PROBE) <= 2 * REFUSALS:
            await filler.turn()
    assert not await installation.vectors(NEW)
    new.away = None
    while await filler.turn():
        pass
    assert await installation.vectors(NEW) == await installation.chunks()

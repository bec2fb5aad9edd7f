"""A change of model: its steps and refusals, what new and deleted documents do in it, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from docutalk_common.contracts.embed import ChangeState, ChangeStep, SearchMode, StepChange
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.process import wait_until
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.model_changes import ModelChanges
from docutalk_embed.use_cases.index_chunks import index_chunks
from docutalk_embed.use_cases.step_change import step_change
from sqlalchemy import text

from .changing import NEW, OLD, Installation

OTHER = "words-32"
TEXTS = [f"Paragraph {number} speaks of pump {number} and of valves." for number in range(10)]


@pytest.fixture
async def installation(own_database: Database, batcher: MicroBatcher) -> Installation:
    """An empty installation with three models."""
    installation = Installation(own_database, batcher)
    await installation.begin()
    return installation


@contextlib.asynccontextmanager
async def writing(db: Database) -> AsyncIterator[None]:
    """A transaction that has written to the chunks and does not end."""
    async with db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(text("DELETE FROM chunks WHERE chunk_id = :chunk"), {"chunk": uuid4()})
        yield


@contextlib.asynccontextmanager
async def reading(db: Database, table: str) -> AsyncIterator[None]:
    """A transaction that has read a table and does not end."""
    async with db.read() as session:
        await session.execute(text(f"SELECT FROM {table} LIMIT 1"))
        yield


async def test_a_change_begins_with_every_passage_to_do_and_searches_as_they_were(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    change = await installation.start()
    assert (change.from_model, change.to_model, change.state) == (OLD, NEW, ChangeState.RUNNING)
    assert (change.passages_done, change.passages_total, change.reason) == (0, 10, None)
    assert await installation.serving() == OLD
    assert await installation.vectors(NEW) == set()
    assert len((await installation.indexed.search("pump 3", mode=SearchMode.SEMANTIC)).passages) == 10


async def test_a_second_change_the_serving_model_and_an_unknown_one_are_refused(installation: Installation) -> None:
    with pytest.raises(NotFound, match="no model words-1"):
        await installation.start("words-1")
    with pytest.raises(RequestFailed, match=f"use {OLD} already") as failure:
        await installation.start(OLD)
    assert failure.value.code == "conflict"
    await installation.start()
    with pytest.raises(RequestFailed, match=f"from {OLD} to {NEW} is open") as failure:
        await installation.start(OTHER)
    assert failure.value.code == "conflict"
    assert not await installation.has_table(OTHER)


async def test_of_two_changes_started_at_once_one_is_refused(installation: Installation) -> None:
    outcomes = await asyncio.gather(installation.start(), installation.start(OTHER), return_exceptions=True)
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(refused, RequestFailed)
    assert refused.code == "conflict"
    assert len(await installation.changes()) == 1


async def test_a_start_that_waits_for_a_writer_keeps_nobody_waiting_behind_it(installation: Installation) -> None:
    async with writing(installation.db):
        starting = asyncio.create_task(installation.start())
        async with asyncio.timeout(5):
            for _ in range(3):
                await installation.indexed.add(TEXTS)
        assert not starting.done()
    await starting
    await installation.fill()
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_dropping_vectors_waits_for_a_long_search_and_no_other_search_waits_for_it(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    async with reading(installation.db, "chunks"):
        assert (await installation.step(ChangeStep.FINISH)).state is ChangeState.FINISHED
        dropping = asyncio.create_task(installation.fill())
        async with asyncio.timeout(5):
            for _ in range(5):
                await installation.indexed.search("pump", mode=SearchMode.KEYWORD)
        assert not dropping.done()
    await dropping
    assert not await installation.has_table(OLD)


async def test_filling_completes_a_change_and_the_switch_is_told_to_each_workspace_with_passages(
    installation: Installation,
) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    change = await installation.change()
    assert (change.state, change.passages_done, change.passages_total) == (ChangeState.COMPLETE, 10, 10)
    assert change.completed_at is not None
    assert await installation.vectors(NEW) == await installation.chunks()
    switched = await installation.step(ChangeStep.SWITCH)
    assert switched.state is ChangeState.SWITCHED
    assert switched.switched_at is not None
    assert await installation.serving() == NEW
    [event] = await installation.switches()
    assert event.workspace_id == installation.indexed.workspace_id
    assert (event.data["from_model"], event.data["to_model"]) == (OLD, NEW)


async def test_rolling_back_is_a_switch_too_and_can_be_done_again_and_again(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    for _ in range(2):
        await installation.step(ChangeStep.SWITCH)
        await installation.indexed.add(["Written while the new model serves."])
        back = await installation.step(ChangeStep.ROLL_BACK)
        assert (back.state, back.switched_at) == (ChangeState.COMPLETE, None)
        assert await installation.serving() == OLD
        await installation.indexed.add(["Written while the old model serves."])
    told = [(event.data["from_model"], event.data["to_model"]) for event in await installation.switches()]
    assert told == [(OLD, NEW), (NEW, OLD)] * 2
    assert await installation.vectors(NEW) == await installation.vectors(OLD) == await installation.chunks()


async def test_a_switch_is_refused_while_passages_are_missing(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.start()
    with pytest.raises(RequestFailed, match=f"10 passages have no vector of {NEW}") as failure:
        await installation.step(ChangeStep.SWITCH)
    assert failure.value.code == "conflict"
    assert await installation.serving() == OLD
    assert await installation.switches() == []


async def test_a_switch_to_a_model_that_cannot_be_asked_is_refused(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    installation.models[NEW].away = "the endpoint does not answer"
    with pytest.raises(RequestFailed, match="the endpoint does not answer") as failure:
        await installation.step(ChangeStep.SWITCH)
    assert failure.value.code == "unavailable"
    assert await installation.serving() == OLD


async def test_finishing_drops_the_old_vectors_and_the_next_change_starts_from_the_new_model(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    assert (await installation.step(ChangeStep.FINISH)).ended_at is not None
    await installation.indexed.add(["Only the new model reads this."])
    await installation.fill()
    assert not await installation.has_table(OLD)
    assert await installation.vectors(NEW) == await installation.chunks()
    await installation.complete(OTHER)
    await installation.step(ChangeStep.SWITCH)
    assert await installation.serving() == OTHER
    assert [(change.from_model, change.to_model) for change in await installation.changes()] == [(NEW, OTHER), (OLD, NEW)]


async def test_cancelling_drops_the_new_vectors_and_the_change_may_be_started_again(installation: Installation) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    assert (await installation.step(ChangeStep.CANCEL)).state is ChangeState.CANCELLED
    # Nobody has tidied up yet: what is left of the first attempt must not count for the second.
    assert await installation.has_table(NEW)
    await installation.indexed.add(["Written between the two."])
    again = await installation.start()
    assert (again.passages_done, again.passages_total) == (0, 11)
    assert await installation.vectors(NEW) == set()
    await installation.fill()
    await installation.step(ChangeStep.CANCEL)
    await installation.fill()
    assert not await installation.has_table(NEW)
    assert [change.state for change in await installation.changes()] == [ChangeState.CANCELLED] * 2


@pytest.mark.parametrize(
    ("before", "step", "reason"),
    [
        ([], ChangeStep.RESUME, "is running and cannot be resumed; possible is: cancel, pause, switch"),
        ([], ChangeStep.ROLL_BACK, "is running and cannot be rolled back"),
        ([], ChangeStep.FINISH, "is running and cannot be finished"),
        ([ChangeStep.PAUSE], ChangeStep.PAUSE, "is paused and cannot be paused"),
        ([ChangeStep.SWITCH], ChangeStep.CANCEL, "is switched and cannot be cancelled; possible is: finish, roll-back"),
        ([ChangeStep.SWITCH], ChangeStep.SWITCH, "is switched and cannot be switched"),
        ([ChangeStep.CANCEL], ChangeStep.RESUME, "has ended and cannot be resumed"),
        ([ChangeStep.SWITCH, ChangeStep.FINISH], ChangeStep.ROLL_BACK, "has ended and cannot be rolled back"),
    ],
)
async def test_a_step_that_the_state_does_not_allow_is_refused_with_what_is_possible(
    installation: Installation, before: list[ChangeStep], step: ChangeStep, reason: str
) -> None:
    await installation.start()
    for earlier in before:
        await installation.step(earlier)
    with pytest.raises(RequestFailed, match=reason) as failure:
        await installation.step(step)
    assert failure.value.code == "conflict"


async def test_a_step_of_a_change_that_never_was_is_not_found(installation: Installation) -> None:
    request = StepChange(change_id=uuid4(), step=ChangeStep.PAUSE)
    with pytest.raises(NotFound, match="no change"):
        await step_change(request, installation.db, installation.registry, Cause.new())


async def test_documents_that_come_during_a_change_get_vectors_of_both_models_at_once(installation: Installation) -> None:
    await installation.start()
    await installation.indexed.add(TEXTS)
    assert await installation.vectors(OLD) == await installation.vectors(NEW) == await installation.chunks()


async def test_a_document_does_not_wait_for_the_new_model_when_it_is_away_slow_or_paused(installation: Installation) -> None:
    candidate = installation.models[NEW]
    await installation.start()
    candidate.away = "the endpoint does not answer"
    await installation.indexed.add(["Comes while it is away."])
    candidate.away = None
    candidate.open.clear()
    [work] = installation.indexed.batches(["Comes while it is slow."])
    await index_chunks(work, installation.indexed.delivery(work), installation.registry, patience=0.05)
    await installation.step(ChangeStep.PAUSE)
    asked = len(candidate.asked)
    await installation.indexed.add(["Comes while it is paused."])
    assert len(candidate.asked) == asked
    assert await installation.vectors(NEW) == set()
    assert await installation.vectors(OLD) == await installation.chunks()
    assert len(await installation.chunks()) == 3


async def test_after_one_batch_has_waited_in_vain_for_the_new_model_the_next_do_not(installation: Installation) -> None:
    candidate = installation.models[NEW]
    await installation.start()
    candidate.open.clear()
    first, second = installation.indexed.batches(["Comes while it is slow."]) + installation.indexed.batches(["Comes then."])
    await index_chunks(first, installation.indexed.delivery(first), installation.registry, patience=0.05)
    async with asyncio.timeout(10):
        await index_chunks(second, installation.indexed.delivery(second), installation.registry, patience=60)
    assert candidate.asked == ["Comes while it is slow."]
    candidate.open.set()
    await installation.fill()
    assert await installation.vectors(NEW) == await installation.chunks()


async def test_a_model_that_is_known_to_be_away_is_not_asked_with_every_batch(installation: Installation) -> None:
    candidate = installation.models[NEW]
    await installation.start()
    candidate.away = "the endpoint does not answer"
    await installation.indexed.add(TEXTS)
    await installation.fill()
    assert (await installation.change()).reason == "the endpoint does not answer"
    asked = len(candidate.asked)
    await installation.indexed.add(TEXTS)
    assert len(candidate.asked) == asked
    candidate.away = None
    await installation.fill()
    change = await installation.change()
    assert (change.state, change.reason) == (ChangeState.COMPLETE, None)
    asked = len(candidate.asked)
    await installation.indexed.add(TEXTS)
    assert len(candidate.asked) == asked + len(TEXTS)


async def test_a_complete_change_runs_again_when_a_document_came_while_the_new_model_was_away(
    installation: Installation,
) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    installation.models[NEW].away = "the endpoint does not answer"
    await installation.indexed.add(["Comes while it is away."])
    await installation.fill()
    change = await installation.change()
    assert (change.state, change.completed_at) == (ChangeState.RUNNING, None)
    assert (change.passages_done, change.passages_total) == (10, 11)
    with pytest.raises(RequestFailed, match="1 passage has no vector"):
        await installation.step(ChangeStep.SWITCH)
    installation.models[NEW].away = None
    await installation.fill()
    assert (await installation.change()).state is ChangeState.COMPLETE


async def test_after_the_switch_the_old_model_is_kept_complete_so_that_rolling_back_is_one_call(
    installation: Installation,
) -> None:
    await installation.indexed.add(TEXTS)
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    installation.models[OLD].away = "the old model is away"
    await installation.indexed.add(["Comes while the old model is away."])
    with pytest.raises(RequestFailed, match=f"1 passage has no vector of {OLD}"):
        await installation.step(ChangeStep.ROLL_BACK)
    installation.models[OLD].away = None
    await installation.fill()
    assert (await installation.change()).state is ChangeState.SWITCHED
    await installation.step(ChangeStep.ROLL_BACK)
    assert await installation.vectors(OLD) == await installation.chunks()


async def test_a_batch_that_was_computed_before_the_switch_is_stored_with_vectors_of_the_new_model(
    installation: Installation,
) -> None:
    old = installation.models[OLD]
    await installation.indexed.add(TEXTS)
    old.open.clear()
    old.entered.clear()
    [work] = installation.indexed.batches(["Read by the old model, stored after the switch."])
    indexing = asyncio.create_task(installation.indexed.index(work))
    await old.is_asked()
    # The change begins, completes and is switched while the batch waits for the old model.
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    old.open.set()
    await indexing
    [chunk] = work.chunks
    assert chunk.chunk_id in await installation.vectors(NEW)
    assert installation.models[NEW].asked.count(chunk.text) == 1
    assert len(await installation.indexed.emitted(work.document_id, "chunks")) == 1


@pytest.mark.parametrize("ending", [ChangeStep.CANCEL, ChangeStep.FINISH])
async def test_a_batch_in_flight_when_the_change_ends_is_stored_for_the_model_that_is_left(
    installation: Installation, ending: ChangeStep
) -> None:
    await installation.complete()
    if ending is ChangeStep.FINISH:
        await installation.step(ChangeStep.SWITCH)
    serving = await installation.serving()
    model = installation.models[serving]
    model.open.clear()
    model.entered.clear()
    [work] = installation.indexed.batches(["Computed for two models, stored for one."])
    indexing = asyncio.create_task(installation.indexed.index(work))
    await model.is_asked()
    await installation.step(ending)
    await installation.fill()
    model.open.set()
    await indexing
    assert await installation.vectors(serving) == await installation.chunks() != set()


async def test_a_step_waits_until_batches_that_are_being_stored_are_committed(installation: Installation) -> None:
    await installation.complete()
    async with installation.db.transaction(Cause.new()) as transaction:
        await ModelChanges(transaction).share()
        switching = asyncio.create_task(installation.step(ChangeStep.SWITCH))
        await wait_until(lambda: _waits_for_lock(installation.db), seconds=5, what="the switch waits")
        assert await installation.serving() == OLD
    await switching
    assert await installation.serving() == NEW


async def _waits_for_lock(db: Database) -> bool:
    async with db.read() as session:
        found = await session.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"))
        return bool(found)


async def test_deleted_cancelled_and_replaced_documents_leave_no_vectors_of_any_model(installation: Installation) -> None:
    indexed = installation.indexed
    deleted, replaced = await indexed.add(TEXTS), await indexed.add(TEXTS)
    await installation.complete()
    first, _ = indexed.batches(TEXTS, size=5)
    await indexed.index(first)
    await indexed.cancel(first.document_id)
    await indexed.delete(deleted)
    [newer] = indexed.batches(["Only this is left."], document_id=replaced, version=2)
    await indexed.index(newer)
    left = {chunk.chunk_id for chunk in newer.chunks}
    assert await installation.chunks() == left
    assert await installation.vectors(OLD) == await installation.vectors(NEW) == left
    other: list[IndexChunks] = indexed.batches(["Cut otherwise.", "In two."], document_id=replaced, version=2, attempt=2)
    await indexed.index(other[0])
    assert await installation.vectors(OLD) == await installation.vectors(NEW) == await installation.chunks()

"""The queue in front of the model: shared batches, lanes, room, failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from docutalk_common.errors import RequestFailed
from docutalk_common.process import wait_until
from docutalk_embed.adapters.batcher import Lane, MicroBatcher, Processor
from docutalk_embed.adapters.minilm import MiniLM


class CountingModel:
    """A text is its length in tokens; the vector repeats that number. `gate` holds inference back while it is cleared."""

    name = "counting"
    dimension = 2
    batch = 8

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        self.tokenized = 0
        self.error: Exception | None = None
        self.lost = 0

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        self.tokenized += len(texts)
        return [[1] * len(text) for text in texts]

    def infer(self, tokens: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        self.batches.append([len(ids) for ids in tokens])
        assert self.gate.wait(10)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return np.array([[len(ids)] * self.dimension for ids in tokens], np.float32)[self.lost :]


def texts(*lengths: int) -> list[str]:
    return ["x" * length for length in lengths]


@pytest.fixture
def model() -> CountingModel:
    return CountingModel()


@pytest.fixture
async def queue(model: CountingModel) -> AsyncIterator[MicroBatcher]:
    batcher = MicroBatcher(model, bulk_limit=32, urgent_limit=16)
    async with batcher.running():
        yield batcher
        model.gate.set()


async def started(model: CountingModel, count: int) -> None:
    """Until so many batches have reached the model."""

    async def reached() -> bool:
        return len(model.batches) >= count

    await wait_until(reached, seconds=5, what=f"{count} batches", every=0.002)


async def waiting(queue: MicroBatcher, lane: Lane, count: int) -> None:
    """Until so many texts wait in a lane."""

    async def reached() -> bool:
        return queue.waiting(lane) >= count

    await wait_until(reached, seconds=5, what=f"{count} texts waiting", every=0.002)


async def test_vectors_come_back_in_the_order_of_their_texts(queue: MicroBatcher) -> None:
    lengths = [30, 2, 17, 9, 25, 1, 40, 3, 12, 8, 5]
    vectors = await queue.embed(texts(*lengths), Lane.BULK)
    assert vectors[:, 0].tolist() == lengths


async def test_no_texts_give_no_vectors(queue: MicroBatcher) -> None:
    assert (await queue.embed([], Lane.BULK)).shape == (0, 2)


async def test_texts_of_many_messages_share_batches_of_like_length(queue: MicroBatcher, model: CountingModel) -> None:
    model.gate.clear()
    blocker = asyncio.create_task(queue.embed(texts(7), Lane.BULK))
    await started(model, 1)
    messages = [asyncio.create_task(queue.embed(texts(1, 50, 2, 51), Lane.BULK)) for _ in range(4)]
    await waiting(queue, Lane.BULK, 16)
    model.gate.set()
    await asyncio.gather(blocker, *messages)
    assert sorted(sorted(batch) for batch in model.batches[1:]) == [[1] * 4 + [2] * 4, [50] * 4 + [51] * 4]


async def test_a_question_passes_all_waiting_documents(queue: MicroBatcher, model: CountingModel) -> None:
    model.gate.clear()
    bulk = asyncio.create_task(queue.embed(texts(*[20] * 32), Lane.BULK))
    await started(model, 1)
    answer = asyncio.create_task(queue.embed(texts(5, 5), Lane.INTERACTIVE))
    await waiting(queue, Lane.INTERACTIVE, 2)
    question = asyncio.create_task(queue.embed(texts(3), Lane.QUERY))
    await waiting(queue, Lane.QUERY, 1)
    model.gate.set()
    await asyncio.gather(bulk, answer, question)
    assert model.batches[1:3] == [[3], [5, 5]]


async def test_express_passes_the_bulk_that_waited_longer(model: CountingModel, queue: MicroBatcher) -> None:
    model.gate.clear()
    bulk = asyncio.create_task(queue.embed(texts(*[20] * 32), Lane.BULK))
    await started(model, 1)
    express = asyncio.create_task(queue.embed(texts(5, 5), Lane.EXPRESS))
    await waiting(queue, Lane.EXPRESS, 2)
    model.gate.set()
    await asyncio.gather(bulk, express)
    assert model.batches[1] == [5, 5]


async def test_bulk_goes_on_however_much_express_there_is(model: CountingModel, queue: MicroBatcher) -> None:
    model.gate.clear()
    first = asyncio.create_task(queue.embed(texts(1), Lane.BULK))
    await started(model, 1)
    express = asyncio.create_task(queue.embed(texts(*[5] * 64), Lane.EXPRESS))
    await waiting(queue, Lane.EXPRESS, 64)
    bulk = asyncio.create_task(queue.embed(texts(*[20] * 16), Lane.BULK))
    await waiting(queue, Lane.BULK, 16)
    model.gate.set()
    await asyncio.gather(first, express, bulk)
    assert [batch[0] for batch in model.batches[1:]] == [5, 5, 5, 20, 5, 5, 5, 20, 5, 5]


async def test_an_odd_length_is_not_starved_by_a_stream_of_others(queue: MicroBatcher, model: CountingModel) -> None:
    model.gate.clear()
    first = asyncio.create_task(queue.embed(texts(1), Lane.BULK))
    await started(model, 1)
    odd = asyncio.create_task(queue.embed(texts(200), Lane.BULK))
    await waiting(queue, Lane.BULK, 1)
    others = [asyncio.create_task(queue.embed(texts(*[10] * 8), Lane.BULK)) for _ in range(3)]
    await waiting(queue, Lane.BULK, 25)
    model.gate.set()
    await asyncio.gather(first, odd, *others)
    assert 200 in model.batches[1]


async def test_bulk_callers_wait_for_room_and_urgent_ones_are_turned_away(queue: MicroBatcher, model: CountingModel) -> None:
    model.gate.clear()
    calls = [asyncio.create_task(queue.embed(texts(*[9] * 16), Lane.BULK)) for _ in range(6)]
    await started(model, 1)
    await waiting(queue, Lane.BULK, 24)
    assert queue.waiting(Lane.BULK) <= 32
    with pytest.raises(RequestFailed, match="too many texts"):
        await queue.embed(texts(*[3] * 17), Lane.QUERY)
    model.gate.set()
    assert [len(vectors) for vectors in await asyncio.gather(*calls)] == [16] * 6


async def test_a_message_larger_than_the_queue_is_embedded(queue: MicroBatcher) -> None:
    assert len(await queue.embed(texts(*range(1, 101)), Lane.BULK)) == 100


async def test_a_failing_model_fails_the_callers_of_that_batch_only(queue: MicroBatcher, model: CountingModel) -> None:
    model.error = ValueError("out of memory")
    with pytest.raises(ValueError, match="out of memory"):
        await queue.embed(texts(*[4] * 20), Lane.BULK)
    assert (await queue.embed(texts(4), Lane.BULK)).tolist() == [[4, 4]]


async def test_a_caller_that_waits_for_room_goes_on_when_the_message_before_it_fails(
    queue: MicroBatcher, model: CountingModel
) -> None:
    model.gate.clear()
    failing = asyncio.create_task(queue.embed(texts(*[9] * 32), Lane.BULK))
    await started(model, 1)
    waiting_for_room = asyncio.create_task(queue.embed(texts(*[4] * 16), Lane.BULK))

    async def tokenized() -> bool:
        return model.tokenized == 48

    await wait_until(tokenized, seconds=5, what="the second message at the door", every=0.01)
    model.error = ValueError("out of memory")
    model.gate.set()
    with pytest.raises(ValueError, match="out of memory"):
        await failing
    assert len(await asyncio.wait_for(waiting_for_room, 5)) == 16


async def test_what_nobody_waits_for_any_more_is_not_computed(queue: MicroBatcher, model: CountingModel) -> None:
    model.gate.clear()
    first = asyncio.create_task(queue.embed(texts(1), Lane.BULK))
    await started(model, 1)
    given_up = asyncio.create_task(queue.embed(texts(*[30] * 16), Lane.BULK))
    await waiting(queue, Lane.BULK, 16)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    model.gate.set()
    await asyncio.gather(first, queue.embed(texts(2), Lane.BULK))
    assert all(30 not in batch for batch in model.batches)


async def test_the_real_model_gives_the_same_vectors_through_the_queue(engine: MiniLM, batcher: MicroBatcher) -> None:
    sentences = [f"sentence {number} " + "about rivers " * (number % 30) for number in range(60)]
    messages = [sentences[start : start + 20] for start in range(0, 60, 20)]
    through = np.concatenate(await asyncio.gather(*(batcher.embed(message, Lane.BULK) for message in messages)))
    assert (through * engine.embed(sentences)).sum(axis=1).min() >= 0.999


class SlowTokens(CountingModel):
    """Takes its time with the tokens of long texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = threading.Event()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if len(texts[0]) > 10:
            assert self.tokens.wait(10)
        return super().tokenize(texts)


async def test_a_question_does_not_wait_for_the_tokens_of_documents() -> None:
    slow = SlowTokens()
    batcher = MicroBatcher(slow)
    async with batcher.running():
        documents = [asyncio.create_task(batcher.embed(texts(20), Lane.BULK)) for _ in range(4)]
        assert (await asyncio.wait_for(batcher.embed(texts(3), Lane.QUERY), 5)).tolist() == [[3, 3]]
        slow.tokens.set()
        await asyncio.gather(*documents)


class RecordingModel:
    """Writes down who computes what, in a list that models share; each batch takes `seconds` of the clock."""

    dimension = 1
    batch = 4

    def __init__(self, name: str, order: list[str], clock: list[float], seconds: float = 1.0) -> None:
        self.name = name
        self.seconds = seconds
        self.gate = threading.Event()
        self.gate.set()
        self._order = order
        self._clock = clock

    def tokenize(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def infer(self, tokens: Sequence[str]) -> npt.NDArray[np.float32]:
        self._order.append(f"{self.name}:{tokens[0].rstrip('0123456789')}")
        self._clock[0] += self.seconds
        assert self.gate.wait(10)
        return np.zeros((len(tokens), 1), np.float32)


class TwoModels:
    """Two models on one processor. While `held`, nothing is computed after the batch that runs."""

    def __init__(self) -> None:
        self.order: list[str] = []
        clock = [0.0]
        processor = Processor(clock=lambda: clock[0])
        self.engines = [RecordingModel(name, self.order, clock) for name in ("old", "new")]
        self.old, self.new = (MicroBatcher(engine, processor) for engine in self.engines)
        self.jobs: list[asyncio.Task[object]] = []

    async def hold(self) -> None:
        """Until one batch runs, which ends when `release` is called."""
        self.engines[0].gate.clear()
        before = len(self.order)
        self.jobs.append(asyncio.create_task(self.old.embed(["first"], Lane.BULK)))

        async def running() -> bool:
            return len(self.order) > before

        await wait_until(running, seconds=5, what="a batch runs", every=0.002)

    async def add(self, batcher: MicroBatcher, what: str, lane: Lane, batches: int = 1) -> None:
        """So many batches wait."""
        before = batcher.waiting(lane)
        texts = [f"{what}{number}" for number in range(4 * batches)]
        self.jobs.append(asyncio.create_task(batcher.embed(texts, lane)))
        await waiting(batcher, lane, before + len(texts))

    async def release(self) -> list[str]:
        """What was computed after the batch that ran."""
        self.engines[0].gate.set()
        await asyncio.gather(*self.jobs)
        return self.order[1:]


@pytest.fixture
async def two() -> AsyncIterator[TwoModels]:
    models = TwoModels()
    async with models.old.running(), models.new.running():
        yield models
        models.engines[0].gate.set()


async def test_a_question_to_one_model_goes_before_all_that_waits_for_the_other(two: TwoModels) -> None:
    await two.hold()
    await two.add(two.old, "bulk", Lane.BULK, 2)
    await two.add(two.new, "background", Lane.BACKGROUND, 2)
    await two.add(two.new, "query", Lane.QUERY)
    await two.add(two.old, "answer", Lane.INTERACTIVE)
    assert (await two.release())[:2] == ["new:query", "old:answer"]


async def test_models_with_equally_urgent_texts_take_turns(two: TwoModels) -> None:
    await two.hold()
    await two.add(two.old, "bulk", Lane.BULK, 3)
    await two.add(two.new, "bulk", Lane.BULK, 3)
    assert await two.release() == ["new:bulk", "old:bulk"] * 3


async def test_a_change_of_model_gets_an_eighth_of_the_time_of_documents_that_come_without_end(two: TwoModels) -> None:
    await two.hold()
    await two.add(two.new, "background", Lane.BACKGROUND, 4)
    await two.add(two.old, "bulk", Lane.BULK, 26)
    order = await two.release()
    assert [place for place, what in enumerate(order) if what == "new:background"] == [0, 9, 18, 27]


async def test_the_share_of_a_change_is_time_and_not_batches(two: TwoModels) -> None:
    two.engines[1].seconds = 3.0
    await two.hold()
    await two.add(two.new, "background", Lane.BACKGROUND, 2)
    await two.add(two.old, "bulk", Lane.BULK, 26)
    order = await two.release()
    assert [place for place, what in enumerate(order) if what == "new:background"] == [0, 25]


async def test_a_change_alone_computes_all_the_time_and_does_not_pay_for_it_later(two: TwoModels) -> None:
    await two.hold()
    await two.add(two.new, "background", Lane.BACKGROUND, 3)
    assert await two.release() == ["new:background"] * 3
    await two.hold()
    await two.add(two.old, "bulk", Lane.BULK, 2)
    await two.add(two.new, "background", Lane.BACKGROUND, 2)
    assert (await two.release())[-4:] == ["new:background", "old:bulk", "old:bulk", "new:background"]


async def test_one_model_goes_on_when_the_other_is_forgotten(two: TwoModels) -> None:
    clock = [0.0]
    processor = Processor(clock=lambda: clock[0])
    stays, leaves = (MicroBatcher(RecordingModel(name, two.order, clock), processor) for name in ("stays", "leaves"))
    async with stays.running():
        async with leaves.running():
            await leaves.embed(["text"], Lane.BULK)
        await stays.embed(["text"], Lane.BULK)
    assert two.order == ["leaves:text", "stays:text"]


async def test_texts_of_a_model_that_is_closed_fail_and_nobody_who_waits_is_cancelled(model: CountingModel) -> None:
    batcher = MicroBatcher(model, bulk_limit=8)
    async with batcher.running():
        model.gate.clear()
        inside = asyncio.create_task(batcher.embed(texts(*range(1, 21)), Lane.BACKGROUND))
        await started(model, 1)
        for_room = asyncio.create_task(batcher.embed(texts(1, 2, 3), Lane.BACKGROUND))
        await in_line(model, 23)
        model.gate.set()
    late = asyncio.create_task(batcher.embed(texts(4), Lane.QUERY))
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(inside, for_room, late, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RequestFailed] * 3


async def in_line(model: CountingModel, count: int) -> None:
    """Until so many texts wait, or wait for room."""

    async def reached() -> bool:
        return model.tokenized == count

    await wait_until(reached, seconds=5, what=f"{count} texts are tokenized", every=0.002)


async def test_room_that_texts_leave_which_nobody_wants_any_more_is_given_to_who_waits(model: CountingModel) -> None:
    other_model, processor = CountingModel(), Processor()
    queue, other = MicroBatcher(model, processor, bulk_limit=32), MicroBatcher(other_model, processor)
    async with queue.running(), other.running():
        other_model.gate.clear()
        busy = asyncio.create_task(other.embed(texts(1), Lane.QUERY))
        await started(other_model, 1)
        given_up = asyncio.create_task(queue.embed(texts(*range(1, 33)), Lane.BULK))
        await waiting(queue, Lane.BULK, 32)
        waits = asyncio.create_task(queue.embed(texts(*range(1, 13)), Lane.BULK))
        await in_line(model, 44)
        given_up.cancel()
        other_model.gate.set()
        await busy
        async with asyncio.timeout(5):
            assert len(await waits) == 12


async def test_a_model_that_gives_too_few_vectors_fails_that_batch_and_no_other(
    queue: MicroBatcher, model: CountingModel
) -> None:
    model.lost = 1
    with pytest.raises(ValueError, match="the model counting gave"):
        await queue.embed(texts(1, 2), Lane.BULK)
    model.lost = 0
    async with asyncio.timeout(5):
        await queue.embed(texts(3), Lane.BULK)

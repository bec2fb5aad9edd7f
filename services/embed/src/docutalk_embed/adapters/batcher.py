"""One queue in front of each model: texts of many messages share batches, and questions never wait behind documents.

All models of a process compute on the same processor, so they take turns, batch by batch: see `Processor`.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from docutalk_common.errors import RequestFailed

Vectors = npt.NDArray[np.float32]


class Engine(Protocol):
    """A model. `tokenize` may be called from many threads, `infer` from one at a time; what the one gives the other takes.
    The lengths of what `tokenize` gives say which texts make an even batch."""

    name: str
    dimension: int
    batch: int

    def tokenize(self, texts: Sequence[str]) -> Sequence[Sized]: ...

    def infer(self, tokens: Sequence[Any]) -> Vectors: ...


class Lane(IntEnum):
    """Who goes first. A lane is served only while those above it are empty; a running batch (.1 s) is not interrupted."""

    QUERY = 0
    """A search: one short text that a person waits for."""
    INTERACTIVE = 1
    """Texts that a person waits for, such as the sentences of an answer."""
    EXPRESS = 2
    """Chunks of a workspace that has nothing else on its way. Callers wait for room when the queue is full."""
    BULK = 3
    """Chunks of documents. Callers wait for room when the queue is full."""
    BACKGROUND = 4
    """Chunks that another model has found already, for a change of model. Callers wait for room when the queue is full."""


_DOCUMENTS = (Lane.EXPRESS, Lane.BULK)
_PATIENT = (*_DOCUMENTS, Lane.BACKGROUND)
"""Messages wait here, and on the server, instead of being turned away."""
_EXPRESS_RUN = 3
"""So many batches may pass the bulk in a row: many workspaces with a little each must not stop one that has much."""
BACKGROUND_SHARE = 1 / 8
"""A change of model gets so much of the time that documents take while they come without end, so that it ends too. It is
time and not batches: a batch of the new model may take ten times as long as one of the old."""


class _Job:
    """One call of `embed`: its vectors, and how many of them are missing."""

    def __init__(self, count: int, dimension: int) -> None:
        self.vectors = np.empty((count, dimension), np.float32)
        self.missing = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def store(self, row: int, vector: Vectors) -> None:
        self.vectors[row] = vector
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Item:
    """One text of a job."""

    __slots__ = ("job", "row", "taken", "tokens")

    def __init__(self, job: _Job, row: int, tokens: Sized) -> None:
        self.job = job
        self.row = row
        self.tokens = tokens
        self.taken = False

    @property
    def length(self) -> int:
        return len(self.tokens)


class _Queue:
    """The waiting items of one lane: the oldest is always in the next batch, its neighbours in length fill it up.

    So nothing starves, messages end in the order they came, and batches are as even as when all were sorted.
    """

    def __init__(self) -> None:
        self._by_age: deque[_Item] = deque()
        self._by_length: list[_Item] = []

    def __len__(self) -> int:
        return len(self._by_length)

    def add(self, items: Sequence[_Item]) -> None:
        self._by_age.extend(items)
        self._by_length.extend(items)
        self._by_length.sort(key=lambda item: item.length)

    def take(self, size: int) -> list[_Item]:
        """Up to `size` items, fewer only when no more are waiting."""
        self.drop_cancelled()
        if not self._by_age:
            return []
        oldest = self._by_age[0]
        place = bisect.bisect_left(self._by_length, oldest.length, key=lambda item: item.length)
        place = self._by_length.index(oldest, place)
        start = max(0, min(place - size // 2, len(self._by_length) - size))
        batch = self._by_length[start : start + size]
        del self._by_length[start : start + size]
        for item in batch:
            item.taken = True
        self.drop_cancelled()
        return batch

    def drop_cancelled(self) -> None:
        """Removes what nobody waits for any more from the head of the queue; the rest is found when it gets there."""
        while self._by_age and (self._by_age[0].taken or self._by_age[0].job.done.done()):
            item = self._by_age.popleft()
            if not item.taken:
                self._by_length.remove(item)


class MicroBatcher:
    """Keeps the texts of one model, lane by lane, until the processor takes them in batches of the model's size."""

    def __init__(
        self, engine: Engine, processor: Processor | None = None, *, bulk_limit: int = 512, urgent_limit: int = 1024
    ) -> None:
        """`processor`: shared with the other models of the process; None is one of its own. `bulk_limit`: texts that may wait
        in each of the patient lanes before callers do; `urgent_limit`: texts in each of the other lanes before callers are
        turned away."""
        self.engine = engine
        self._processor = processor or Processor()
        self._bulk_limit = bulk_limit
        self._urgent_limit = urgent_limit
        self._queues = {lane: _Queue() for lane in Lane}
        self._room = asyncio.Condition()
        # Each its own, so that a query does not wait for the tokens of six batches of chunks.
        self._urgent_tokens = ThreadPoolExecutor(1, thread_name_prefix="urgent-tokens")
        self._patient_tokens = ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._closed = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves the queue inside of the block. Whoever waits at its end is told `unavailable`: a model may be unloaded while
        others ask it, and they are not to take that for their own cancellation."""
        try:
            async with self._processor.serving(self):
                yield
        finally:
            self._closed = True
            for queue in self._queues.values():
                for item in queue.take(len(queue)):
                    item.job.fail(self._unloaded())
            async with self._room:
                self._room.notify_all()
            self._urgent_tokens.shutdown()
            self._patient_tokens.shutdown()

    async def embed(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """Vectors [n, dimension] of n texts, in their order. The model's error, if it raises one.

        Raises `RequestFailed` (`unavailable`) when an urgent lane is full, in the patient lanes it waits; and when the model is
        unloaded.
        """
        if not texts:
            return np.empty((0, self.engine.dimension), np.float32)
        if self._closed:
            raise self._unloaded()
        thread = self._patient_tokens if lane in _PATIENT else self._urgent_tokens
        tokens = await asyncio.get_running_loop().run_in_executor(thread, self.engine.tokenize, texts)
        job = _Job(len(texts), self.engine.dimension)
        items = [_Item(job, row, ids) for row, ids in enumerate(tokens)]
        queue = self._queues[lane]
        if lane in _PATIENT:
            async with self._room:
                # A job larger than the queue gets in when it is alone.
                await self._room.wait_for(lambda: self._closed or not len(queue) or len(queue) + len(items) <= self._bulk_limit)
                if self._closed:
                    raise self._unloaded()
                queue.add(items)
        elif self._closed:
            raise self._unloaded()
        elif len(queue) + len(items) > self._urgent_limit:
            raise RequestFailed("unavailable", "too many texts are waiting to be embedded; try again in a moment")
        else:
            queue.add(items)
        self._processor.wake()
        try:
            await job.done
        except asyncio.CancelledError:
            # The room that these texts leave: nothing may be computed here for long that would tell of it.
            queue.drop_cancelled()
            async with self._room:
                self._room.notify_all()
            raise
        return job.vectors

    def _unloaded(self) -> RequestFailed:
        return RequestFailed("unavailable", f"the model {self.engine.name} was unloaded; try again in a moment")

    def waiting(self, lane: Lane) -> int:
        """How many texts wait in a lane."""
        return len(self._queues[lane])

    def take(self, lane: Lane) -> list[_Item]:
        """The next batch of a lane; empty when nothing waits there. For the processor."""
        return self._queues[lane].take(self.engine.batch)

    async def compute(self, batch: list[_Item], thread: ThreadPoolExecutor) -> None:
        """Gives the items of a batch their vectors, or the model's error. For the processor."""
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(thread, self.engine.infer, [item.tokens for item in batch])
            if np.shape(vectors) != (len(batch), self.engine.dimension):
                raise ValueError(f"the model {self.engine.name} gave {np.shape(vectors)} for {len(batch)} texts")
        except asyncio.CancelledError:
            for item in batch:
                item.job.fail(self._unloaded())
            raise
        except Exception as error:
            for item in batch:
                item.job.fail(error)
        else:
            for item, vector in zip(batch, vectors, strict=True):
                item.job.store(item.row, vector)
        async with self._room:
            self._room.notify_all()


class Processor:
    """Runs one batch at a time, of whichever model has the most urgent text at that moment.

    Two models that compute at once would share the processor's cores, and a search would wait for both. So a search waits
    for one running batch at most, whoever's that is. Models with texts in the same lane take turns.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock`: seconds."""
        self._clock = clock
        self._models: list[MicroBatcher] = []
        self._serving: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        self._expressed = 0
        self._owed = 0.0

    @contextlib.asynccontextmanager
    async def serving(self, model: MicroBatcher) -> AsyncIterator[None]:
        """Serves a model's queue inside of the block."""
        self._models.append(model)
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="embedding")
        try:
            yield
        finally:
            self._models.remove(model)
            if not self._models:
                serving, self._serving = self._serving, None
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    def wake(self) -> None:
        """There is work."""
        self._work.set()

    async def _serve(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="inference") as thread:
            while True:
                self._work.clear()
                while (chosen := self._next()) is not None:
                    model, lane, batch = chosen
                    contested = any(self._waits(other) for other in _DOCUMENTS)
                    started = self._clock()
                    await model.compute(batch, thread)
                    self._account(lane, self._clock() - started, contested)
                await self._work.wait()

    def _next(self) -> tuple[MicroBatcher, Lane, list[_Item]] | None:
        for lane in self._order():
            for model in self._models:
                if batch := model.take(lane):
                    # It goes last next time.
                    self._models.remove(model)
                    self._models.append(model)
                    return model, lane, batch
        return None

    def _order(self) -> tuple[Lane, ...]:
        documents = _DOCUMENTS if self._expressed < _EXPRESS_RUN else _DOCUMENTS[::-1]
        patient = (Lane.BACKGROUND, *documents) if self._owed > 0 else (*documents, Lane.BACKGROUND)
        return (Lane.QUERY, Lane.INTERACTIVE, *patient)

    def _account(self, lane: Lane, seconds: float, contested: bool) -> None:
        """Notes who was served; `contested`: documents waited meanwhile."""
        if lane in _DOCUMENTS:
            self._expressed = self._expressed + 1 if lane is Lane.EXPRESS else 0
            self._owed += seconds * BACKGROUND_SHARE
            if not self._waits(Lane.BACKGROUND):
                # Only what waits is owed time: a change that begins later has no claim to the hours before it.
                self._owed = min(self._owed, 0.0)
        elif lane is Lane.BACKGROUND and contested:
            self._owed -= seconds

    def _waits(self, lane: Lane) -> bool:
        return any(model.waiting(lane) for model in self._models)

"""Computes the vectors that the model of a change lacks, behind everything else, until there are none.

It walks through the chunks by their ids and keeps the place in the database, together with the vectors: killed at any moment it
goes on from there. It looks for gaps as long as the change is open, also when nothing was missing: documents that were stored
while the model's provider was away, and after the switch the old model's vectors, so that going back is one call.

One filler of an installation works at a time, under an advisory lock; others wait to take over. If two should ever work at once,
because a lost connection freed the lock, both compute the same vectors, and nothing is stored twice.

A passage that the model refuses again and again, while it takes another text each time, gets a vector that is like nothing: or
one strange text would keep the change from ever being complete. Searches find it by its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Sequence

import asyncpg
import numpy as np
from docutalk_common import telemetry
from docutalk_common.contracts.embed import ChangeState
from docutalk_common.db import KEEPALIVE, Cause, Database, postgres_errors
from docutalk_common.errors import DependencyUnavailable, DocuTalkError, RequestFailed
from sqlalchemy.exc import ProgrammingError

from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.model_changes import (
    CHANGES_CHANNEL,
    FIRST,
    MissingPassage,
    ModelChanges,
    OpenChange,
    find_leftovers,
    find_missing,
    find_open,
    patiently,
)
from docutalk_embed.adapters.model_registry import ModelRegistry, Vectors
from docutalk_embed.adapters.passage_repository import is_missing_table

log = telemetry.get_logger(__name__)

POLL_SECONDS = 1.0
# How long it rests when the model cannot be asked: doubled from the first to the second while it stays so.
REST_SECONDS = (1.0, 30.0)
# A batch is what a crash loses and what pausing waits for; a larger one keeps more requests to an endpoint under way.
BATCH_SECONDS = 3.0
BATCH_SIZES = (32, 512)
# Counting a million passages takes a tenth of a second: it may take this share of the time, until figures would be too old.
MEASURE_SHARE = 0.02
MEASURE_SECONDS = (1.0, 5.0)
MAX_REASON = 500
# After a failure fewer passages are asked for, by this factor, so that one which is refused is soon asked for alone.
NARROWED = 8
REFUSALS = 5
"""A passage is given up when it was refused alone so often in a row: between them lie half a minute and more."""
PROBE = "Does it answer?"
_NEWEST = 0.3
"""How much the latest batch weighs in the rate."""


class _NotSetUp(Exception):
    """This process cannot open the model; another one of the installation may."""


class VectorFiller:
    """Runs until cancelled. Never raises: whatever is away, it waits for."""

    def __init__(
        self,
        db: Database,
        registry: ModelRegistry,
        *,
        silent_seconds: float = 15.0,
        rest_seconds: tuple[float, float] = REST_SECONDS,
    ) -> None:
        """`silent_seconds`: after them people are told that the model does not answer. It may take minutes to fail, because it
        is tried again and again."""
        self._silent_seconds = silent_seconds
        self._rest_seconds = rest_seconds
        self._db = db
        self._registry = registry
        self._wake = asyncio.Event()
        self._lock_key = zlib.crc32(f"vector filler {db.schema}".encode())
        self._forget()

    def _forget(self) -> None:
        """What it knows by itself; nothing of it has to survive."""
        self._missing: int | None = None
        self._measure_at = 0.0
        self._ask_at = 0.0
        self._rest = 0.0
        self._most = BATCH_SIZES[1]
        self._refusals = 0

    async def run(self) -> None:
        """The filler's whole life."""
        while True:
            delay = 0.2
            try:
                with postgres_errors():
                    await self._work()
            except _NotSetUp:
                # Long enough for another filler to ask for the lock.
                delay = 3 * POLL_SECONDS
            except (DependencyUnavailable, OSError) as error:
                log.warning("the filler of vectors waits for PostgreSQL", reason=str(error))
            except Exception:
                # A filler that ended would leave a change of model where it is, with nobody the wiser.
                log.exception("the filler of vectors failed and starts again")
                delay = 5.0
            await asyncio.sleep(delay)

    async def _work(self) -> None:
        connection = await asyncpg.connect(
            self._db.dsn,
            timeout=5,
            command_timeout=30,
            server_settings={"application_name": f"docutalk_{self._db.schema}_filler", **KEEPALIVE},
        )
        try:
            await connection.add_listener(CHANGES_CHANNEL, lambda *_: self._awake())
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock_key):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            self._forget()
            while not connection.is_closed():
                self._wake.clear()
                if await self.turn():
                    continue
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with its result.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
            raise DependencyUnavailable("postgres", "the connection was lost that keeps other fillers away")
        finally:
            connection.terminate()

    def _awake(self) -> None:
        """A change was started, or moved on by somebody: nothing that was known of it holds."""
        self._forget()
        self._wake.set()

    async def turn(self) -> bool:
        """Does one piece of work: a batch, or tidying. Returns whether there may be more to do at once."""
        async with self._db.read() as session:
            change = await find_open(session)
            leftovers = [] if change is not None else await find_leftovers(session)
        if change is None:
            if leftovers:
                await self._tidy()
            return False
        missing = await self._measure(change)
        if change.state is ChangeState.PAUSED or not missing or self._now() < self._ask_at:
            return False
        return await self._fill(change)

    async def _fill(self, change: OpenChange) -> bool:
        started = self._now()
        size = round(min(max((change.passages_per_second or 0) * BATCH_SECONDS, BATCH_SIZES[0]), self._most))
        try:
            async with self._db.read() as session:
                passages = await find_missing(session, change.following, change.cursor, size)
        except ProgrammingError as error:
            if not is_missing_table(error):
                raise
            return False  # the change has ended since, and its vectors are gone
        if not passages:
            return await self._end_pass(change)
        try:
            vectors = await self._embed(change, passages)
        except Exception as error:
            await self._wait_for_model(change, error)
            if self._registry.missing(change.following) is not None:
                raise _NotSetUp from error
            self._most = max(len(passages) // NARROWED, 1)
            if len(passages) == 1:
                await self._doubt(change, passages[0])
            return False
        seconds = max(self._now() - started, 1e-3)
        await self._store(change, passages, vectors, len(passages) / seconds)
        self._rest = 0.0
        self._refusals = 0
        self._most = min(self._most * 2, BATCH_SIZES[1])
        return True

    async def _doubt(self, change: OpenChange, passage: MissingPassage) -> None:
        """Counts how often the model took another text than this passage, and gives the passage up in the end."""
        try:
            await (await self._registry.load(change.following)).embed_passages([PROBE], Lane.BACKGROUND)
        except Exception as error:
            log.info("the model answers nothing at all", model=change.following.name, reason=str(error))
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals < REFUSALS:
            return
        log.error(
            "a passage is found by its words only from now on, because the model refuses it",
            model=change.following.name,
            chunk_id=str(passage.chunk_id),
        )
        await self._store(
            change, [passage], np.zeros((1, change.following.dimension), np.float32), change.passages_per_second or 1.0
        )
        self._refusals = 0
        self._ask_at = 0.0

    async def _embed(self, change: OpenChange, passages: Sequence[MissingPassage]) -> Vectors:
        """Waits as long as the model tries. Says so when that is long: documents that come then do not ask it, too."""
        model = await self._registry.load(change.following)
        computing = asyncio.create_task(model.embed_passages([passage.text for passage in passages], Lane.BACKGROUND))
        try:
            await asyncio.wait({computing}, timeout=self._silent_seconds)
            if not computing.done():
                await self._tell(change, f"{change.following.name} has not answered for {self._silent_seconds:g} s")
            return await computing
        finally:
            computing.cancel()

    async def _store(self, change: OpenChange, passages: Sequence[MissingPassage], vectors: Vectors, latest: float) -> None:
        before = change.passages_per_second
        rate = latest if before is None else _NEWEST * latest + (1 - _NEWEST) * before
        async with self._db.transaction(Cause.new()) as transaction:
            changes = ModelChanges(transaction)
            current = await changes.lock(change.change_id)
            if current is None or current.following != change.following:
                return  # it ended, or the models have changed places, while the vectors were computed
            await changes.add_vectors(current, passages, vectors, rate)

    async def _end_pass(self, change: OpenChange) -> bool:
        """Behind the last passage. Those that came in the meantime, or were left out, lie anywhere before."""
        self._measure_at = 0.0
        if change.cursor == FIRST:
            return False  # what was missing when it was counted is gone, or being deleted
        async with self._db.transaction(Cause.new()) as transaction:
            await ModelChanges(transaction).begin_pass(change.change_id)
        return True

    async def _measure(self, change: OpenChange) -> int:
        """How many passages lack a vector, as counted not long ago; with it the figures that people see are brought up."""
        started = self._now()
        missing = self._missing
        if missing is None or started >= self._measure_at:
            async with self._db.transaction(Cause.new()) as transaction:
                changes = ModelChanges(transaction)
                current = await changes.lock(change.change_id)
                missing = 0 if current is None else await changes.measure(current)
            self._missing = missing
            now = self._now()
            self._measure_at = now + min(max((now - started) / MEASURE_SHARE, MEASURE_SECONDS[0]), MEASURE_SECONDS[1])
        return missing

    async def _wait_for_model(self, change: OpenChange, error: Exception) -> None:
        expected = isinstance(error, DocuTalkError)
        reason = str(error) if expected else f"an unexpected error ({type(error).__name__}); the log of embed says more"
        log.warning(
            "vectors could not be computed",
            model=change.following.name,
            reason=reason,
            exc_info=None if expected else error,
        )
        self._rest = min(max(self._rest * 2, self._rest_seconds[0]), self._rest_seconds[1])
        self._ask_at = self._now() + self._rest
        await self._tell(change, reason)

    async def _tell(self, change: OpenChange, reason: str) -> None:
        async with self._db.transaction(Cause.new()) as transaction:
            await ModelChanges(transaction).tell(change.change_id, reason[:MAX_REASON])

    async def _tidy(self) -> None:
        async def attempt() -> None:
            async with self._db.transaction(Cause.new()) as transaction:
                await ModelChanges(transaction).drop_leftovers()

        try:
            await patiently(attempt)
        except RequestFailed as error:
            log.warning("vectors that nobody needs stay for now", reason=str(error))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

"""Tells answers that are being made here that somebody does not want them to go on.

The wish stands in the database, because another process may have been asked. Looking twice a second costs one query while
anything is being made at all, and nothing is lost when a connection is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import UUID

from docutalk_common.db import Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger

from docutalk_chat.adapters import repository

log = get_logger(__name__)

LOOK_SECONDS = 0.5


class StopWatch:
    """`async with` it while answers are made."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watched: dict[UUID, asyncio.Event] = {}
        self._some = asyncio.Event()

    async def __aenter__(self) -> StopWatch:
        self._task = asyncio.create_task(self._run(), name="stop watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @contextlib.contextmanager
    def watching(self, answer_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set when the answer shall end, within a second of the wish."""
        self._watched[answer_id] = event = asyncio.Event()
        self._some.set()
        try:
            yield event
        finally:
            self._watched.pop(answer_id, None)

    def stop(self, answer_id: UUID) -> None:
        """Ends an answer that is made in this process at once."""
        if answer_id in self._watched:
            self._watched[answer_id].set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            while self._watched:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    async with self._db.read() as session:
                        wanted = await repository.stopped_among(session, list(self._watched))
                except DependencyUnavailable:
                    continue
                except Exception:
                    # Whatever it was, the next look may succeed; a watch that ends would let no answer be stopped any more.
                    log.exception("could not look for answers to stop")
                    continue
                for answer_id in wanted:
                    self.stop(answer_id)
            self._some.clear()

"""The relay: publishes what transactions emitted, and deletes it once the server has stored it.

One relay for each service works at a time, under an advisory lock; others wait to take over. A crash between publishing
and deleting publishes again, under the same `Nats-Msg-Id`, and consumers have their inbox beyond the server's window.
Identity order is not commit order, so nothing here remembers a last id.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
from nats.errors import BadSubjectError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from docutalk_common import telemetry
from docutalk_common.db import KEEPALIVE, Database, outbox_channel, postgres_errors
from docutalk_common.errors import DependencyUnavailable

log = telemetry.get_logger(__name__)

BATCH = 200
POLL_SECONDS = 1.0
# How long a refused subject rests: doubled from the first to the second while it stays refused.
REST_SECONDS = (0.5, 10.0)
INBOX_KEEP = timedelta(days=31)  # as long as the log can deliver a message again
PURGE_EVERY_SECONDS = 3600.0

_CLAIM = """
SELECT id, message_id, subject, payload, traceparent FROM outbox
WHERE (not_before IS NULL OR not_before <= now()) AND subject <> ALL($2::text[]) ORDER BY id LIMIT $1
"""
_REFUSED = (APIError, MaxPayloadError, BadSubjectError, KeyError)
_AWAY = (NatsError, DependencyUnavailable, OSError)


@dataclass(frozen=True)
class _Rest:
    """Until when (loop time) a subject is left alone, and for how many seconds that is."""

    until: float
    seconds: float


class OutboxRelay:
    """Runs until cancelled. Never raises: whatever is away, it waits for. Commits wake it; it also looks every `poll_seconds`."""

    def __init__(self, db: Database, js: Callable[[], JetStreamContext], *, poll_seconds: float = POLL_SECONDS) -> None:
        self._db = db
        self._js = js
        self._poll_seconds = poll_seconds
        self._wake = asyncio.Event()
        self._purged = float("-inf")
        self._resting: dict[str, _Rest] = {}
        self._lock_key = zlib.crc32(f"outbox relay {db.schema}".encode())

    async def run(self) -> None:
        """The relay's whole life."""
        while True:
            delay = 0.2
            try:
                with postgres_errors():
                    await self._work()
            except (DependencyUnavailable, OSError) as error:
                log.warning("the outbox waits for PostgreSQL", schema=self._db.schema, reason=str(error))
            except Exception:
                # A relay that ended would keep every message of this service back, with nobody the wiser.
                log.exception("the outbox relay failed and starts again", schema=self._db.schema)
                delay = 5.0
            await asyncio.sleep(delay)

    async def _work(self) -> None:
        connection = await asyncpg.connect(
            self._db.dsn,
            timeout=5,
            command_timeout=30,
            server_settings={"search_path": f"{self._db.schema}, public", **KEEPALIVE},
        )
        try:
            await connection.add_listener(outbox_channel(self._db.schema), lambda *_: self._wake.set())
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock_key):  # noqa: ASYNC110
                await asyncio.sleep(self._poll_seconds)
            while True:
                self._wake.clear()
                if await self._publish_batch(connection) == BATCH:
                    continue
                pending = await connection.fetchval("SELECT count(*) FROM outbox")
                telemetry.OUTBOX_PENDING.labels(self._db.schema).set(pending)
                await self._purge_inbox(connection)
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with its result.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._wake.wait()
        finally:
            connection.terminate()

    async def _publish_batch(self, connection: asyncpg.Connection) -> int:
        """Publishes up to a batch, pipelined. Returns how many rows were taken up; 0 makes the caller wait."""
        now = asyncio.get_running_loop().time()
        rows = await connection.fetch(_CLAIM, BATCH, [subject for subject, rest in self._resting.items() if rest.until > now])
        if not rows:
            return 0
        outcomes = await asyncio.gather(*(self._publish(row) for row in rows))
        done = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if done:
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", done)
            telemetry.PUBLISHED.labels(self._db.schema).inc(len(done))
        away = next((outcome for outcome in outcomes if isinstance(outcome, _AWAY) and not isinstance(outcome, _REFUSED)), None)
        if away is not None:
            log.warning("the outbox waits for NATS", schema=self._db.schema, reason=f"{type(away).__name__}: {away}")
        self._rest([(row["subject"], outcome) for row, outcome in zip(rows, outcomes, strict=True)], now)
        return 0 if away is not None else len(rows)

    def _rest(self, published: list[tuple[str, Exception | None]], now: float) -> None:
        """A refused subject (a workspace whose queue is full) rests, with all its rows, however many; the others pass.

        Kept here and not in the rows: moving each row's `not_before` brought the first ones up again before the last had
        stepped aside, so that a few thousand rows of one workspace kept all others back.
        """
        self._resting = {subject: rest for subject, rest in self._resting.items() if rest.until > now - REST_SECONDS[1]}
        passed = {subject for subject, outcome in published if outcome is None}
        refused = {subject: outcome for subject, outcome in published if isinstance(outcome, _REFUSED)}
        for subject in passed:
            self._resting.pop(subject, None)
        for subject, error in refused.items():
            before = self._resting.get(subject)
            seconds = min(before.seconds * 2, REST_SECONDS[1]) if before else REST_SECONDS[0]
            self._resting[subject] = _Rest(now + seconds, seconds)
            log.warning("messages stay in the outbox", schema=self._db.schema, subject=subject, reason=str(error))

    async def _publish(self, row: asyncpg.Record) -> Exception | None:
        headers = {"Nats-Msg-Id": str(row["message_id"])}
        if row["traceparent"]:
            headers["traceparent"] = row["traceparent"]
        try:
            await self._js().publish(row["subject"], row["payload"], timeout=5, stream=_stream(row["subject"]), headers=headers)
        except (*_REFUSED, *_AWAY) as error:
            return error
        return None

    async def _purge_inbox(self, connection: asyncpg.Connection) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._purged > PURGE_EVERY_SECONDS:
            self._purged = now
            await connection.execute("DELETE FROM inbox WHERE processed_at < now() - $1::interval", INBOX_KEEP)


def _stream(subject: str) -> str:
    """Naming the stream makes the server acknowledge, or refuse, instead of losing a publish to nobody."""
    return {"evt": "EVENTS", "work": "WORK"}[subject.partition(".")[0]]

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
from datetime import timedelta

import asyncpg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from docutalk_common import telemetry
from docutalk_common.db import Database, outbox_channel, postgres_errors
from docutalk_common.errors import DependencyUnavailable

log = telemetry.get_logger(__name__)

BATCH = 200
POLL_SECONDS = 1.0
FULL_QUEUE_DELAY = timedelta(seconds=1)
INBOX_KEEP = timedelta(days=31)  # as long as the log can deliver a message again
PURGE_EVERY_SECONDS = 3600.0

_CLAIM = """
SELECT id, message_id, subject, payload, traceparent FROM outbox
WHERE not_before IS NULL OR not_before <= now() ORDER BY id LIMIT $1
"""


class OutboxRelay:
    """Runs until cancelled. Never raises: whatever is away, it waits for."""

    def __init__(self, db: Database, js: Callable[[], JetStreamContext]) -> None:
        self._db = db
        self._js = js
        self._wake = asyncio.Event()
        self._purged = 0.0
        self._lock_key = zlib.crc32(f"outbox relay {db.schema}".encode())

    async def run(self) -> None:
        """The relay's whole life."""
        delay = 0.2
        while True:
            try:
                with postgres_errors():
                    await self._work()
            except (DependencyUnavailable, OSError) as error:
                log.warning("the outbox waits for PostgreSQL", schema=self._db.schema, reason=str(error))
            except asyncpg.PostgresError:
                log.exception("the outbox relay failed and starts again", schema=self._db.schema)
                delay = 5.0
            await asyncio.sleep(delay)

    async def _work(self) -> None:
        connection = await asyncpg.connect(
            self._db.dsn, timeout=5, command_timeout=30, server_settings={"search_path": f"{self._db.schema}, public"}
        )
        try:
            await connection.add_listener(outbox_channel(self._db.schema), lambda *_: self._wake.set())
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock_key):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            while True:
                self._wake.clear()
                if await self._publish_batch(connection) == BATCH:
                    continue
                await self._purge_inbox(connection)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        finally:
            connection.terminate()

    async def _publish_batch(self, connection: asyncpg.Connection) -> int:
        """Publishes up to a batch, pipelined. Returns how many rows were taken care of."""
        rows = await connection.fetch(_CLAIM, BATCH)
        if not rows:
            telemetry.OUTBOX_PENDING.labels(self._db.schema).set(0)
            return 0
        outcomes = await asyncio.gather(*(self._publish(row) for row in rows), return_exceptions=True)
        done = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        failed = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None]
        if done:
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", done)
            telemetry.PUBLISHED.labels(self._db.schema).inc(len(done))
        if failed:
            # A workspace whose queue is full, or the server away: these rows step aside so that others pass.
            error = next(outcome for outcome in outcomes if outcome is not None)
            log.warning("messages stay in the outbox", schema=self._db.schema, count=len(failed), reason=str(error))
            await connection.execute(
                "UPDATE outbox SET not_before = now() + $2 WHERE id = ANY($1::bigint[])", failed, FULL_QUEUE_DELAY
            )
        telemetry.OUTBOX_PENDING.labels(self._db.schema).set(len(failed))
        return len(rows)

    async def _publish(self, row: asyncpg.Record) -> Exception | None:
        headers = {"Nats-Msg-Id": str(row["message_id"])}
        if row["traceparent"]:
            headers["traceparent"] = row["traceparent"]
        try:
            await self._js().publish(row["subject"], row["payload"], timeout=5, stream=_stream(row["subject"]), headers=headers)
        except (TimeoutError, NatsError, APIError, OSError) as error:
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

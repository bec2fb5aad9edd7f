"""Hands out waiting work so that every workspace gets its turn: documents to be read, and batches of chunks to be embedded.

A work queue is first come, first served: 10,000 files of one workspace in it would delay everybody's next file by hours. So work
waits in PostgreSQL, only little of it is in the queues at any time, and whose turn is next is decided when there is room. Where
nobody waits and there is room, there is nothing to decide: what comes then goes at once, in the transaction that brings it, which
spares a single file the way through here (some 10 ms).

One dispatcher of an installation works at a time, under an advisory lock; others wait to take over. If two should ever work at
once, because a lost connection freed the lock, both hand out a little too much, and nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
from docutalk_common import telemetry
from docutalk_common.contracts.ingest import DocumentFailed
from docutalk_common.db import KEEPALIVE, Cause, Database, postgres_errors
from docutalk_common.errors import DependencyUnavailable, DocuTalkError

from docutalk_ingest.adapters.batch_repository import BatchRepository
from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.document_rows import DISPATCH_CHANNEL
from docutalk_ingest.adapters.extraction_repository import ExtractionRepository
from docutalk_ingest.adapters.waiting_lines import SETTINGS, Head, Line, WaitingLines
from docutalk_ingest.domain import Window, Windows

log = telemetry.get_logger(__name__)

POLL_SECONDS = 1.0
RECOVER_EVERY_SECONDS = 60.0
MAX_REASON = 500


def next_turns(heads: Sequence[Head], in_flight: Mapping[UUID, int], turns: Mapping[UUID, int], window: Window) -> list[Head]:
    """Whose turn it is: the workspace with the least in flight first, of those the one whose last turn is longest ago, then
    the oldest. At most one of each workspace; ask again for more.
    """
    total = sum(in_flight.values())
    chosen: list[Head] = []
    order = sorted(heads, key=lambda head: (in_flight.get(head.workspace_id, 0), turns.get(head.workspace_id, 0), head.queued_at))
    for head in order:
        mine = in_flight.get(head.workspace_id, 0)
        if not window.has_room(total, mine):
            break
        if chosen and mine > in_flight.get(chosen[0].workspace_id, 0):
            break  # those before it may have more to come, and are in flight with as little
        chosen.append(head)
        total += 1
    return chosen


class Dispatcher:
    """Runs until cancelled. Never raises: whatever is away, it waits for."""

    def __init__(self, db: Database, windows: Windows) -> None:
        self._db = db
        self._windows = windows
        self._wake = asyncio.Event()
        self._lock_key = zlib.crc32(f"dispatcher {db.schema}".encode())
        self._recovered = 0.0
        # When a workspace had its last turn, as a running number. Lost with the process, which costs a round.
        self._turns: dict[Line, dict[UUID, int]] = {"documents": {}, "batches": {}}
        self._turn = 0

    async def run(self) -> None:
        """The dispatcher's whole life."""
        while True:
            delay = 0.2
            try:
                with postgres_errors():
                    await self._work()
            except (DependencyUnavailable, OSError) as error:
                log.warning("the dispatcher waits for PostgreSQL", reason=str(error))
            except Exception:
                # A dispatcher that ended would keep every document waiting, with nobody the wiser.
                log.exception("the dispatcher failed and starts again")
                delay = 5.0
            await asyncio.sleep(delay)

    async def _work(self) -> None:
        connection = await asyncpg.connect(
            self._db.dsn,
            timeout=5,
            command_timeout=30,
            server_settings={
                "search_path": f"{self._db.schema}, public",
                "application_name": f"docutalk_{self._db.schema}_dispatcher",
                **KEEPALIVE,
                **SETTINGS,
            },
        )
        try:
            await connection.add_listener(DISPATCH_CHANNEL, lambda *_: self._wake.set())
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock_key):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            lines = WaitingLines(connection)
            # Not at once: after a stop, what was handed out before is still in the queues.
            self._recovered = asyncio.get_running_loop().time()
            while True:
                self._wake.clear()
                await self.hand_out(lines)
                await self._recover(lines)
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with its result.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
        finally:
            connection.terminate()

    async def hand_out(self, lines: WaitingLines) -> int:
        """Fills both windows. Returns how much was handed out."""
        return await self._fill("documents", lines) + await self._fill("batches", lines)

    async def _fill(self, line: Line, lines: WaitingLines) -> int:
        window = self._windows.documents if line == "documents" else self._windows.batches
        handed_out = 0
        while heads := await lines.heads(line):
            in_flight = await lines.in_flight(line)
            chosen = next_turns(heads, in_flight, self._turns[line], window)
            for head in chosen:
                try:
                    await self._release(line, head, alone=not in_flight.get(head.workspace_id))
                except (DependencyUnavailable, OSError):
                    raise
                except Exception as error:
                    # It would be the first of its line for ever, and nothing after it had a turn.
                    log.exception("work could not be handed out", line=line, document_id=str(head.document_id))
                    await self._give_up(head, error)
                self._turn += 1
                self._turns[line][head.workspace_id] = self._turn
            handed_out += len(chosen)
            if not chosen:
                return handed_out
        self._turns[line].clear()  # nobody waits: all begin anew
        return handed_out

    async def _release(self, line: Line, head: Head, *, alone: bool) -> None:
        async with self._db.transaction(Cause.new()) as transaction:
            if line == "documents":
                work = await ExtractionRepository(transaction.session).release_document(head.document_id)
            else:
                batches = BatchRepository(transaction.session)
                work = await batches.release_batch(head.document_id, head.version, head.batch, express=alone)
            if work is None:
                return  # changed since it was looked at
            transaction.cause = work.cause
            headers = {"traceparent": work.traceparent} if work.traceparent else None
            with telemetry.span(f"dispatch {line}", headers=headers):
                transaction.emit(work.message)

    async def _give_up(self, head: Head, error: Exception) -> None:
        """Ends a document whose work cannot be put into a message, with a reason."""
        async with self._db.transaction(Cause.new()) as transaction:
            repository = DocumentRepository(transaction.session)
            document = await repository.lock(head.document_id)
            if document is None:
                return
            code, why = (error.code, str(error)) if isinstance(error, DocuTalkError) else ("internal", "an unexpected error")
            reason = f"Its text could not be handed on: {why[:MAX_REASON]}. Upload the file again."
            failed = await repository.mark_failed(document.document_id, document.version, code, reason)
            if failed is not None:
                transaction.emit(
                    DocumentFailed(
                        workspace_id=failed.workspace_id,
                        document_id=failed.document_id,
                        version=failed.version,
                        code=code,
                        reason=failed.reason or reason,
                    )
                )

    async def _recover(self, lines: WaitingLines) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._recovered > RECOVER_EVERY_SECONDS:
            self._recovered = now
            moved = await lines.recover(self._windows.lost_after)
            if moved:
                log.warning("lost work waits again", pieces=moved)
                self._wake.set()

"""The consumers of sources against the suite that all consumers inherit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from docutalk_common.contracts.envelope import Envelope, Message
from docutalk_common.contracts.ingest import CollectSource, RunStatus, Schedule, SourceDue, SourceKind
from docutalk_common.db import Cause, Database
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire
from docutalk_ingest.adapters.source_repository import SourceRepository

from .source_world import SECONDS, added, counts, runs_of
from .world import IngestConformance

# An item that fails without asking anybody: what is collected would be read, and each test would wait for that at its end.
REFUSED = {"urls": ["http://127.0.0.1:9/"]}


class TestSourceCollect(IngestConformance):
    durable = "ingest-source-collect"

    async def arrange(self, db: Database) -> Message:
        return (await added(db, SourceKind.URLS, REFUSED))[1]

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, CollectSource)
        async with db.read() as session:
            items = await SourceRepository(session).items(message.source_id)
        return [(run.status, counts(run), run.finished_at) for run in await runs_of(db, message.source_id)], items


class TestSourceDue(IngestConformance):
    durable = "ingest-source-due"

    async def handled(self, db: Database, wire: Wire, envelope: Envelope) -> None:
        """A firing has its place in the stream for an id, not its envelope's."""

        async def done() -> bool:
            return await wire.settled(self.entry)

        await wait_until(done, seconds=SECONDS, what="the firing is handled")

    async def arrange(self, db: Database) -> Message:
        schedule = Schedule(every_seconds=3600)
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
        source, work = await added(db, SourceKind.URLS, REFUSED, schedule=schedule, next_run_at=at)
        async with db.transaction(Cause.new()) as transaction:
            await SourceRepository(transaction.session).finish_run(work.run_id, RunStatus.DONE, None)
        return SourceDue(workspace_id=source.workspace_id, source_id=source.source_id, due_at=at)

    async def effect(self, db: Database, message: Message) -> Any:
        assert isinstance(message, SourceDue)
        return [run.trigger for run in await runs_of(db, message.source_id)]

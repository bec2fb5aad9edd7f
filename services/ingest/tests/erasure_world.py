"""What tests of erasures ask: what is left, and what was said."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.gateway import UserDeleted, WorkspaceDeleted
from docutalk_common.contracts.ingest import DataErased
from docutalk_common.db import Database
from docutalk_common.messaging import event_log
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.streams import EVENTS, SCHEDULES
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for

SECONDS = 40.0


async def mentions(db: Database, signs: Collection[object], *, but: Collection[str] = ("erased_workspaces",)) -> list[str]:
    """Every row of every table of the schema that holds one of the signs."""
    connection = await asyncpg.connect(db.dsn)
    try:
        names = await connection.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = 'ingest'")
        assert len(names) > 10
        found = []
        for (name,) in names:
            rows = [] if name in but else await connection.fetch(f'SELECT * FROM ingest."{name}"')
            # Ids as text, and bytes as what is readable of them.
            shown = [" ".join(str(value) for value in row.values()) for row in rows]
            found += [f"{name}: {text}" for text in shown if any(str(sign) in text for sign in signs)]
        return found
    finally:
        await connection.close()


async def receipts(wire: Wire, event: WorkspaceDeleted | UserDeleted) -> list[DataErased]:
    """What ingest said of an erasure."""
    found = await event_log.read(wire.nc, EVENTS, f"evt.ingest.v1.data.erased.{event.workspace_id}.{event.erasure_id}")
    return [DataErased.model_validate(Envelope.model_validate_json(item.data).data) for item in found]


async def receipt(wire: Wire, event: WorkspaceDeleted | UserDeleted) -> DataErased:
    async def given() -> bool:
        return bool(await receipts(wire, event))

    await wait_until(given, seconds=SECONDS, what="the receipt is given")
    [found] = await receipts(wire, event)
    return found


async def scheduled(wire: Wire, workspace_id: UUID) -> list[str]:
    """Subjects of the clock that name the workspace."""
    info = await wire.js.stream_info(SCHEDULES, subjects_filter="sch.>")
    return [subject for subject in info.state.subjects or {} if str(workspace_id) in subject]


def deletion(workspace_id: UUID) -> WorkspaceDeleted:
    return WorkspaceDeleted(workspace_id=workspace_id, erasure_id=uuid4(), deleted_by=uuid4())


def delivery_of(event: Any, durable: str, db: Database) -> Delivery:
    return Delivery(envelope_for(event), 1, durable, db)

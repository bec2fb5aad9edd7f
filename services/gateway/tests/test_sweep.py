"""Deleting what has run out."""

from __future__ import annotations

import asyncio

from docutalk_common.db import Database
from docutalk_common.process import cancel_all, wait_until
from docutalk_gateway.use_cases.sweep_expired import sweep_for_ever
from docutalk_local.testing import TestStack
from structlog.testing import capture_logs


async def test_sweeping_goes_on_after_a_round_that_failed(stack: TestStack) -> None:
    db = Database(stack.app_dsn("gateway"), schema="a_schema_without_tables", pool_size=1)
    with capture_logs() as said:
        sweeping = asyncio.create_task(sweep_for_ever(db, every=0.01))

        async def failed_twice() -> bool:
            return len([entry for entry in said if entry["event"] == "expired rows stay for now"]) >= 2

        try:
            await wait_until(failed_twice, seconds=10, what="a second round has been tried")
        finally:
            await cancel_all([sweeping])
            await db.close()

"""The server's clock says that a source is due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import SourceDue
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.run_source import run_due_source


def ingest_source_due(wake: Callable[[], None]) -> Callable[[SourceDue, Delivery], Awaitable[None]]:
    """The handler of `ingest-source-due`."""

    async def handle(due: SourceDue, delivery: Delivery) -> None:
        await run_due_source(due, delivery, wake)

    return handle

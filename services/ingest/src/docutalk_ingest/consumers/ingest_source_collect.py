"""A source waits to be collected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import CollectSource
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.collect_source import SourceCollector


def ingest_source_collect(collect: SourceCollector) -> Callable[[CollectSource, Delivery], Awaitable[None]]:
    """The handler of `ingest-source-collect`."""

    async def handle(work: CollectSource, delivery: Delivery) -> None:
        await collect(work, delivery)

    return handle

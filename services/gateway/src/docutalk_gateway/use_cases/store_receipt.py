"""A service says what it removed of a workspace or a user."""

from __future__ import annotations

import asyncio

from docutalk_common.contracts.envelope import ErasureReceipt
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.streams import SERVICES, ServiceName
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import erasure_repository, models
from docutalk_gateway.adapters.log_purge import LogPurge

log = get_logger(__name__)

OTHERS: tuple[ServiceName, ...] = tuple(service for service in SERVICES if service != erasure_repository.OWN)
"""Who gives receipts."""


async def store_receipt(
    delivery: Delivery, service: ServiceName, receipt: ErasureReceipt, purge: LogPurge, stored: asyncio.Event
) -> None:
    """Purges from the log what the receipt names, and stores it. Sets `stored`: the erasure may be complete now.

    What is about a whole workspace is purged by `complete_erasures`, and not here: the receipts themselves are in the log, and
    one that is purged does not come again. Raises `DependencyUnavailable`, and `PermanentError` for a subject that takes too
    much.
    """
    await purge.events(receipt.subjects)
    async with delivery.transaction() as tx:
        if await erasure_repository.erasure_by_id(tx.session, receipt.erasure_id) is None:
            # For example of before a backup that was restored.
            log.warning("a receipt of an erasure that is not known", erasure_id=str(receipt.erasure_id), service=service)
            return
        await erasure_repository.add_receipt(
            tx.session,
            models.ErasureReceipt(
                erasure_id=receipt.erasure_id,
                service=service,
                part=receipt.part,
                parts=receipt.parts,
                removed=receipt.removed,
            ),
        )
    stored.set()

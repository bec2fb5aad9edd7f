"""An account was deleted: its name goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.gateway import UserDeleted
from docutalk_common.db import Database
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.erase_user import erase_user


def gateway_user_deleted(db: Database) -> Callable[[UserDeleted, Delivery], Awaitable[None]]:
    """The handler of `ingest-user-deleted`."""

    async def handle(event: UserDeleted, delivery: Delivery) -> None:
        await erase_user(event, delivery, db)

    return handle

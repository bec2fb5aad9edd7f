"""An account is gone from the gateway."""

from __future__ import annotations

from docutalk_common.contracts.gateway import UserDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.use_cases.erase_user import erase_user


async def gateway_user_deleted(event: UserDeleted, delivery: Delivery) -> None:
    """The handler of `embed-user-deleted`."""
    await erase_user(event, delivery)

"""Take the name of a person whose account was deleted off what they did here."""

from __future__ import annotations

from docutalk_common.contracts.embed import DataErased
from docutalk_common.contracts.gateway import NO_WORKSPACE, UserDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.erasure_repository import forget_user, is_first_receipt


async def erase_user(event: UserDeleted, delivery: Delivery) -> None:
    """Emits the receipt once, also when the person never did anything here."""
    async with delivery.transaction() as transaction:
        if not await is_first_receipt(transaction.session, delivery.consumer, event.erasure_id):
            return
        removed = {"model_changes": await forget_user(transaction.session, event.user_id)}
        transaction.emit(DataErased(workspace_id=NO_WORKSPACE, erasure_id=event.erasure_id, removed=removed))

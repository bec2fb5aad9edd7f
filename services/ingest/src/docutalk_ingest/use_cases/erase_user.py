"""An account was deleted: what is this person's in workspaces of others stays there, in nobody's name."""

from __future__ import annotations

from docutalk_common.contracts.gateway import NO_WORKSPACE, UserDeleted
from docutalk_common.contracts.ingest import DataErased
from docutalk_common.db import Database
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.erasure_repository import UserErasure
from docutalk_ingest.adapters.tombstones import bury_user, note_user_erased


async def erase_user(event: UserDeleted, delivery: Delivery, db: Database) -> None:
    """An upload that is registered later is nobody's, too. The receipt counts what bore the name, and is given once."""
    async with db.transaction(delivery.cause) as transaction:
        await bury_user(transaction.session, event.user_id)
    async with delivery.transaction() as transaction:
        nameless = await UserErasure(transaction.session, event.user_id).forget()
        if await note_user_erased(transaction.session, event.user_id):
            transaction.emit(DataErased(workspace_id=NO_WORKSPACE, erasure_id=event.erasure_id, removed=nameless))

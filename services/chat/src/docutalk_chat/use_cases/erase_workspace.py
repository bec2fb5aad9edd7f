"""Erases all that was said in a workspace that was deleted, and keeps out what still comes of it."""

from __future__ import annotations

from docutalk_common.contracts.chat import DataErased
from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.adapters import erasure_repository
from docutalk_chat.adapters.models import sessions


async def erase_workspace(event: WorkspaceDeleted, delivery: Delivery) -> None:
    """Emits the receipt once. Killed at any point it goes on where it was, and counts on. An answer that is being made ends, and
    is not stored."""
    db, workspace_id = delivery.db, event.workspace_id
    assert db is not None
    async with db.transaction(delivery.cause) as transaction:
        if not await erasure_repository.begin_erasure(transaction.session, workspace_id):
            return
    are_left = True
    while are_left:
        async with db.transaction(delivery.cause) as transaction:
            went = await erasure_repository.erase_sessions(transaction.session, sessions.c.workspace_id == workspace_id)
            await erasure_repository.count_erased(transaction.session, workspace_id, went.counts)
        are_left = went.counts["sessions"] > 0
    async with delivery.transaction() as transaction:
        rest = await erasure_repository.erase_rest(transaction.session, workspace_id)
        await erasure_repository.count_erased(transaction.session, workspace_id, rest)
        removed = await erasure_repository.end_erasure(transaction.session, workspace_id)
        if removed is not None:
            transaction.emit(DataErased(workspace_id=workspace_id, erasure_id=event.erasure_id, removed=removed))

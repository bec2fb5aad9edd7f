"""Erase all that is held of a workspace that was deleted, and keep out what still comes of it."""

from __future__ import annotations

from docutalk_common.contracts.embed import DataErased
from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.messaging.consumer import Delivery

from docutalk_embed.adapters.erasure_repository import Erasure, begin_erasure, documents_of
from docutalk_embed.adapters.model_changes import ModelChanges

DOCUMENTS_AT_ONCE = 100


async def erase_workspace(event: WorkspaceDeleted, delivery: Delivery) -> None:
    """Emits the receipt once. Killed at any point it goes on where it was, and counts on."""
    db, workspace_id = delivery.db, event.workspace_id
    assert db is not None
    async with db.transaction(delivery.cause) as transaction:
        if not await begin_erasure(transaction.session, workspace_id):
            return
    # None can be added any more.
    async with db.read() as session:
        document_ids = await documents_of(session, workspace_id)
    for first in range(0, len(document_ids), DOCUMENTS_AT_ONCE):
        some = document_ids[first : first + DOCUMENTS_AT_ONCE]
        are_left = True
        while are_left:
            async with db.transaction(delivery.cause) as transaction:
                are_left = await Erasure(transaction, workspace_id).remove_chunks(some)
        async with db.transaction(delivery.cause) as transaction:
            await Erasure(transaction, workspace_id).remove_documents(some)
    are_left = True
    while are_left:
        async with db.transaction(delivery.cause) as transaction:
            are_left = await Erasure(transaction, workspace_id).remove_counts()
    async with delivery.transaction() as transaction:
        # A switch of the model that has seen the workspace is committed by now, with its message about it.
        await ModelChanges(transaction).share()
        removed = await Erasure(transaction, workspace_id).end()
        if removed is not None:
            transaction.emit(DataErased(workspace_id=workspace_id, erasure_id=event.erasure_id, removed=removed))

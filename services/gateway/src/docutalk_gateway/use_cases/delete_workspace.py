"""A workspace goes for good: here at once, and then in every service."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import erasure_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.erasure_repository import ErasureState
from docutalk_gateway.adapters.models import Erasure
from docutalk_gateway.domain import ErasureKind
from docutalk_gateway.use_cases.go_after_a_deadlock import one_after_the_other
from docutalk_gateway.use_cases.store_receipt import OTHERS


async def delete_workspace(db: Database, cause: Cause, actor: Actor, *, workspace_id: UUID) -> ErasureState:
    """Removes what is known of it here, and emits `WorkspaceDeleted`. Whoever adds something at that moment did so before, and it
    is removed, or finds it gone. Raises `NotFound`."""

    async def delete() -> ErasureState:
        async with db.transaction(cause) as tx:
            await erasure_repository.lock_erasures(tx.session)
            erasure = await erase_workspace(tx, actor, workspace_id)
            return await erasure_repository.erasure_state(tx.session, erasure)

    return await one_after_the_other(delete)


async def erase_workspace(tx: Transaction, actor: Actor, workspace_id: UUID, *, parent_id: UUID | None = None) -> Erasure:
    """The same within a transaction that has locked erasures. `parent_id`: the erasure of the user whose workspace it was."""
    removed = await erasure_repository.remove_workspace(tx.session, workspace_id)
    if removed is None:
        raise NotFound("There is no such workspace.")
    erasure = Erasure(
        id=uuid7(), kind=ErasureKind.WORKSPACE.value, subject_id=workspace_id, parent_id=parent_id, services=list(OTHERS)
    )
    await erasure_repository.add_erasure(tx.session, erasure)
    await erasure_repository.add_own_receipt(tx.session, erasure, removed)
    tx.emit(WorkspaceDeleted(workspace_id=workspace_id, erasure_id=erasure.id, deleted_by=actor.id))
    note(tx.session, Action.WORKSPACE_DELETED, actor, workspace_id=workspace_id, target_id=erasure.id)
    return erasure

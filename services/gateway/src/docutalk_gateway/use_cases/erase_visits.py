"""What visitors of share links asked is erased when their visit is over: nobody can come back to it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import UserDeleted
from docutalk_common.db import Transaction

from docutalk_gateway.adapters import erasure_repository
from docutalk_gateway.adapters.models import Erasure
from docutalk_gateway.domain import ErasureKind
from docutalk_gateway.use_cases.store_receipt import OTHERS


async def erase_visits(tx: Transaction, visit_ids: Sequence[UUID]) -> None:
    """Emits `UserDeleted` for each: to chat a visitor is a person, whose conversations go, from the log, too."""
    for visit_id in visit_ids:
        erasure = Erasure(id=uuid7(), kind=ErasureKind.USER.value, subject_id=visit_id, services=list(OTHERS))
        await erasure_repository.add_erasure(tx.session, erasure)
        await erasure_repository.add_own_receipt(tx.session, erasure, {"visits": 1})
        tx.emit(UserDeleted(user_id=visit_id, erasure_id=erasure.id))

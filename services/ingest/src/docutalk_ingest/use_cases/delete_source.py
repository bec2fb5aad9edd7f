"""Somebody deletes a source: it does not run again."""

from __future__ import annotations

from collections.abc import Callable

from docutalk_common.contracts.ingest import DeleteSource, SourceRemoved
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from sqlalchemy import func

from docutalk_ingest.adapters.source_repository import SourceRepository


async def delete_source(request: DeleteSource, cause: Cause, db: Database, wake: Callable[[], None]) -> SourceRemoved:
    """With its documents: they follow within moments, a hundred at a time, also across a crash. Without: they stay, keep their
    origin, and belong to no source any more. Raises `NotFound`.
    """
    count = 0
    async with db.transaction(cause) as transaction:
        repository = SourceRepository(transaction.session)
        # Waits for the item that a run is storing right now; the run finds no source then.
        if await repository.lock(request.source_id, request.workspace_id) is None:
            raise NotFound("There is no such source in this workspace.")
        if request.with_documents:
            count = await repository.count_documents(request.source_id)
            await repository.change(request.source_id, deleted_at=func.now(), deleted_by=request.deleted_by)
        else:
            await repository.remove(request.source_id)
    wake()
    return SourceRemoved(source_id=request.source_id, documents_deleted=count)

"""A workspace was deleted: everything that is held of it goes, and nothing of it comes back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from docutalk_common.contracts.gateway import WorkspaceDeleted
from docutalk_common.contracts.ingest import DataErased
from docutalk_common.db import Database
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.erasure_repository import WorkspaceErasure
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.tombstones import bury_workspace


@dataclass(frozen=True)
class WorkspaceEraser:
    """The handler of `WorkspaceDeleted`."""

    db: Database
    storage: ObjectStorage
    schedules: Schedules

    async def __call__(self, event: WorkspaceDeleted, delivery: Delivery) -> None:
        """The tombstone first, then the rows in steps that are short transactions, then the objects, of which nobody makes more
        when the rows are gone. What a crash leaves, the next delivery finds. The receipt is given once, at the end."""
        async with self.db.transaction(delivery.cause) as transaction:
            await bury_workspace(transaction.session, event.workspace_id)
        await self._remove_rows(event, delivery)
        while await self._remove_objects(event, delivery):
            pass
        async with delivery.transaction() as transaction:
            erasure = WorkspaceErasure(transaction.session, event.workspace_id)
            await erasure.begin()
            removed = await erasure.finish()
            if removed is not None:
                transaction.emit(DataErased(workspace_id=event.workspace_id, erasure_id=event.erasure_id, removed=removed))

    async def _remove_rows(self, event: WorkspaceDeleted, delivery: Delivery) -> None:
        await self._each(event, delivery, WorkspaceErasure.stop_sources)
        async with self._step(event, delivery) as erasure:
            source_ids = await erasure.source_ids()
        await self.schedules.cancel(event.workspace_id, source_ids)
        for kind in (WorkspaceErasure.remove_sources, WorkspaceErasure.stop_documents, WorkspaceErasure.remove_documents):
            await self._each(event, delivery, kind)

    async def _remove_objects(self, event: WorkspaceDeleted, delivery: Delivery) -> bool:
        """Whether there were any: more may have come while the store was listing them."""
        found = False
        async for entries in self.storage.entries(f"{event.workspace_id}/"):
            found = True
            await self.storage.delete([entry.key for entry in entries])
            async with self._step(event, delivery) as erasure:
                await erasure.count("objects", len(entries))
        return found

    async def _each(
        self, event: WorkspaceDeleted, delivery: Delivery, step: Callable[[WorkspaceErasure], Awaitable[bool]]
    ) -> None:
        more = True
        while more:
            async with self._step(event, delivery) as erasure:
                more = await step(erasure)

    @contextlib.asynccontextmanager
    async def _step(self, event: WorkspaceDeleted, delivery: Delivery) -> AsyncIterator[WorkspaceErasure]:
        async with self.db.transaction(delivery.cause) as transaction:
            erasure = WorkspaceErasure(transaction.session, event.workspace_id)
            await erasure.begin()
            yield erasure

"""Every query that removes what ingest holds of a workspace, or of a user's name, in steps that fit into a statement's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from docutalk_common.contracts.ingest import DataErased
from docutalk_common.db import outbox
from sqlalchemy import Table, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.document_rows import DocumentRows
from docutalk_ingest.adapters.source_tables import source_items, source_runs, sources
from docutalk_ingest.adapters.tables import batches, documents, erased_workspaces, pages, renderings, units, versions
from docutalk_ingest.adapters.tombstones import NOBODY

DOCUMENTS_AT_ONCE = 500
REMOVED_AT_ONCE = 50
"""Documents, or sources, whose rows are removed together, so many of each table in a step:"""
ROWS_AT_ONCE = 5_000
COUNTED = ("documents", "versions", "pages", "sources", "objects")


class WorkspaceErasure(DocumentRows):
    """One step of an erasure, within the transaction of `session`. The tombstone is there. Steps return whether there is more
    of the same to do; done again after a crash they find what is left."""

    def __init__(self, session: AsyncSession, workspace_id: UUID) -> None:
        super().__init__(session)
        self._workspace_id = workspace_id
        self._removed: dict[str, int] = {}

    async def begin(self) -> None:
        """To be called first: only one step is done at a time, also when the message is in two hands."""
        which = erased_workspaces.c.workspace_id == self._workspace_id
        removed = await self._session.scalar(select(erased_workspaces.c.removed).where(which).with_for_update())
        self._removed = dict.fromkeys(COUNTED, 0) | (removed or {})

    async def count(self, kind: str, number: int) -> None:
        """So many more of this kind are gone; kinds that nobody asks for are not counted."""
        if kind in COUNTED and number:
            self._removed[kind] += number
            await self._set(removed=self._removed)

    async def stop_sources(self) -> bool:
        """Ends their runs before the next item, and lets the clock alone."""
        of_workspace = sources.c.workspace_id == self._workspace_id
        await self._session.execute(update(sources).where(of_workspace).values(paused=True, next_run_at=None))
        return False

    async def source_ids(self) -> list[UUID]:
        """Every source, deleted ones included."""
        return list(await self._session.scalars(select(sources.c.source_id).where(sources.c.workspace_id == self._workspace_id)))

    async def remove_sources(self) -> bool:
        """With their runs and items."""
        which = select(sources.c.source_id).where(sources.c.workspace_id == self._workspace_id).limit(REMOVED_AT_ONCE)
        return await self._remove(sources, sources.c.source_id, which, (source_items, source_runs))

    async def stop_documents(self) -> bool:
        """Whoever works on them finds them deleted within half a second, and stops."""
        which = (
            select(documents.c.document_id)
            .where(documents.c.workspace_id == self._workspace_id, documents.c.deleted_at.is_(None))
            .order_by(documents.c.document_id)
            .limit(DOCUMENTS_AT_ONCE)
            .with_for_update()
        )
        ids = list(await self._session.scalars(which))
        await self._session.execute(
            update(documents).where(documents.c.document_id.in_(ids)).values(deleted_at=func.now(), password=None, cause={})
        )
        await self.count("documents", len(ids))
        await self._wake_dispatcher()
        return bool(ids)

    async def remove_documents(self) -> bool:
        """The rows of documents that are deleted, and all that belongs to them."""
        which = (
            select(documents.c.document_id)
            .where(documents.c.workspace_id == self._workspace_id, documents.c.deleted_at.is_not(None))
            .limit(REMOVED_AT_ONCE)
        )
        # Counted when they were stopped: those that somebody had deleted before are none of those that there were.
        more = await self._remove(documents, documents.c.document_id, which, (pages, units, batches, renderings, versions))
        await self._wake_dispatcher()
        return more

    async def finish(self) -> dict[str, int] | None:
        """Removes what waits to be said about the workspace. What was removed in all, by kind; None when that was said before."""
        of_workspace = outbox.c.subject.contains(str(self._workspace_id))
        receipts = outbox.c.subject.startswith(DataErased.subject_filter().rstrip("*."))
        await self._session.execute(delete(outbox).where(of_workspace, ~receipts))
        told = await self._set(erased_at=func.now())
        return self._removed if told else None

    async def _set(self, **values: Any) -> bool:
        which = [erased_workspaces.c.workspace_id == self._workspace_id]
        if "erased_at" in values:
            which.append(erased_workspaces.c.erased_at.is_(None))
        statement = update(erased_workspaces).where(*which).values(**values).returning(erased_workspaces.c.workspace_id)
        return await self._session.scalar(statement) is not None

    async def _remove(self, table: Table, key: Any, which: Any, parts: Sequence[Table]) -> bool:
        ids = list(await self._session.scalars(which))
        for part in parts:
            removed = await self._remove_rows(part, key.name, ids)
            await self.count(part.name, removed)
            if removed == ROWS_AT_ONCE:
                return True
        await self._session.execute(delete(table).where(key.in_(ids)))
        if table is sources:
            await self.count(table.name, len(ids))
        return bool(ids)

    async def _remove_rows(self, table: Table, key: str, ids: Sequence[UUID]) -> int:
        some = f"SELECT ctid FROM {table.name} WHERE {key} = ANY(:ids) LIMIT :most"  # noqa: S608  names of tables and columns
        statement = text(f"DELETE FROM {table.name} WHERE ctid = ANY(ARRAY({some})) RETURNING 1")  # noqa: S608
        return len((await self._session.execute(statement, {"ids": list(ids), "most": ROWS_AT_ONCE})).all())


class UserErasure:
    """Takes a user's name off what is theirs in workspaces, within the transaction of `session`."""

    def __init__(self, session: AsyncSession, user_id: UUID) -> None:
        self._session = session
        self._values = {"user": user_id, "actor": str(user_id), "nobody": NOBODY, "most": ROWS_AT_ONCE}

    async def forget(self) -> dict[str, int]:
        """How many rows named them, by kind. Sources first, and documents in their order, as whoever else locks many of them."""
        return {
            "sources": await self._forget(_SOURCES, after=NOBODY),
            "documents": await self._forget(_DOCUMENTS, after=NOBODY),
            "versions": await self._forget(_VERSIONS, after=NOBODY),
        }

    async def _forget(self, statement: Any, *, after: UUID) -> int:
        count = 0
        while True:
            rows = (await self._session.execute(statement, self._values | {"after": after})).scalars().all()
            if not rows:
                return count
            count += len(rows)
            after = max(rows)


_SOURCES = text(
    """
    UPDATE sources SET created_by = CASE WHEN created_by = :user THEN :nobody ELSE created_by END,
      deleted_by = CASE WHEN deleted_by = :user THEN :nobody ELSE deleted_by END
    WHERE source_id IN (
      SELECT source_id FROM sources WHERE source_id > :after AND (created_by = :user OR deleted_by = :user)
      ORDER BY source_id LIMIT :most FOR UPDATE)
    RETURNING source_id
    """
)
_DOCUMENTS = text(
    """
    UPDATE documents SET created_by = CASE WHEN created_by = :user THEN :nobody ELSE created_by END,
      cause = CASE WHEN cause ->> 'actor' = :actor THEN jsonb_set(cause, '{actor}', 'null') ELSE cause END
    WHERE document_id IN (
      SELECT document_id FROM documents WHERE document_id > :after AND (created_by = :user OR cause ->> 'actor' = :actor)
      ORDER BY document_id LIMIT :most FOR UPDATE)
    RETURNING document_id
    """
)
# All versions of a document together, so that none is passed over between two steps.
_VERSIONS = text(
    """
    UPDATE versions SET created_by = :nobody
    WHERE created_by = :user AND document_id IN (
      SELECT DISTINCT document_id FROM versions WHERE document_id > :after AND created_by = :user
      ORDER BY document_id LIMIT :most)
    RETURNING document_id
    """
)

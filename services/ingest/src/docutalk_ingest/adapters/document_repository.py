"""Every query about documents themselves: what state they are in, what people do with them, and who looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.ingest import Document, DocumentStatus
from docutalk_common.db import Cause
from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update

from docutalk_ingest.adapters.document_rows import ALIVE, SHOWN, DocumentRows, current, stored_cause
from docutalk_ingest.adapters.tables import batches, documents, pages, renderings, units, versions
from docutalk_ingest.adapters.version_repository import object_keys
from docutalk_ingest.domain import RETRIABLE, UNFINISHED, freeze


@dataclass(frozen=True)
class Deletion:
    """A deleted document with the keys of what it had in the object store, at most `MAX_NAMED_OBJECTS`."""

    document: Document
    object_keys: list[str]


class DocumentRepository(DocumentRows):
    """Documents, within the transaction of `session`."""

    # --- changing

    async def lock(self, document_id: UUID) -> Document | None:
        """The document, unless it is deleted; no other transaction changes it until this one ends."""
        return await self._one(select(*SHOWN).where(documents.c.document_id == document_id, ALIVE).with_for_update())

    async def lock_some(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> dict[UUID, Document]:
        """Those of the documents that exist, locked in one order, so that two who change many do not wait for each other."""
        statement = (
            select(*SHOWN)
            .where(
                documents.c.document_id.in_(document_ids),
                documents.c.workspace_id == workspace_id,
                ALIVE,
            )
            .order_by(documents.c.document_id)
            .with_for_update()
        )
        rows = (await self._session.execute(statement)).mappings()
        return {row["document_id"]: Document.model_validate(dict(row)) for row in rows}

    async def mark_ready(self, document_id: UUID, version: int, chunk_count: int) -> Document | None:
        """`ready`: also for a document that was given up on and whose messages were sent again since.

        A version that was completed although a later one has come, or although it was cancelled, is served, as its passages
        are found: its status stays.
        """
        ready = await self._change(
            and_(
                current(document_id, version),
                documents.c.status.in_((*UNFINISHED, DocumentStatus.FAILED)),
                documents.c.chunk_count.is_not(None),
            ),
            status=DocumentStatus.READY,
            served_version=version,
            chunks_done=func.greatest(documents.c.chunks_done, chunk_count),
            # What was said about unreadable pages stays true; why it had failed does not.
            code=case((documents.c.status == DocumentStatus.FAILED, None), else_=documents.c.code),
            reason=case((documents.c.status == DocumentStatus.FAILED, None), else_=documents.c.reason),
        )
        if ready is not None:
            await self._drop_batches([document_id])
            await self._begin_next_version(document_id)
            return ready
        kept = select(versions.c.version).where(versions.c.document_id == document_id, versions.c.version == version)
        await self._session.execute(
            update(documents)
            .where(
                documents.c.document_id == document_id,
                ALIVE,
                or_(
                    documents.c.version > version,
                    and_(documents.c.version == version, documents.c.status == DocumentStatus.CANCELLED),
                ),
                func.coalesce(documents.c.served_version, 0) < version,
                kept.exists(),
            )
            .values(served_version=version)
        )
        return None

    async def mark_failed(
        self, document_id: UUID, version: int, code: str, reason: str, *, attempt: int | None = None
    ) -> Document | None:
        """`failed`, unless the document has come to another end, or to another attempt, already. Batches wait for the next."""
        failed = await self._change(
            and_(current(document_id, version, attempt), documents.c.status.in_(UNFINISHED)),
            status=DocumentStatus.FAILED,
            code=code,
            # What a library said may hold what PostgreSQL cannot store; a document must not stay unfinished for that.
            reason=freeze(reason),
            password=None,
        )
        if failed is not None:
            await self._session.execute(update(batches).where(batches.c.document_id == document_id).values(held=True))
            await self._begin_next_version(document_id)
            await self._wake_dispatcher()
        return failed

    async def _drop_batches(self, document_ids: Sequence[UUID]) -> None:
        await self._session.execute(delete(batches).where(batches.c.document_id.in_(document_ids)))
        await self._wake_dispatcher()

    async def cancel(self, document_ids: Sequence[UUID]) -> list[Document]:
        """Stops documents that are locked and unfinished: `cancelled`, with nothing more to hand out."""
        if not document_ids:
            return []
        cancelled = await self._change_all(
            and_(documents.c.document_id.in_(document_ids), documents.c.status.in_(UNFINISHED)),
            status=DocumentStatus.CANCELLED,
            code=None,
            reason=None,
            password=None,
        )
        await self._drop_batches([document.document_id for document in cancelled])
        return cancelled

    async def retry(self, document_ids: Sequence[UUID], *, password: str | None, cause: Cause) -> list[Document]:
        """Begins another attempt at documents that are locked and failed or cancelled: `embedding` where pages and the rest of
        the batches are stored, else `queued`."""
        if not document_ids:
            return []
        left = select(batches.c.batch).where(
            batches.c.document_id == documents.c.document_id, batches.c.version == documents.c.version
        )
        again = and_(documents.c.status == DocumentStatus.FAILED, documents.c.chunk_count.is_not(None), left.exists())
        retried = await self._change_all(
            and_(documents.c.document_id.in_(document_ids), documents.c.status.in_(RETRIABLE)),
            status=case((again, DocumentStatus.EMBEDDING), else_=DocumentStatus.QUEUED)
            if password is None
            else DocumentStatus.QUEUED,
            attempt=documents.c.attempt + 1,
            code=None,
            reason=None,
            password=password,
            queued_at=func.now(),
            released_at=None,
            progressed_at=func.now(),
            cause=stored_cause(cause),
        )
        going_on = [document.document_id for document in retried if document.status == DocumentStatus.EMBEDDING]
        anew = [document.document_id for document in retried if document.status == DocumentStatus.QUEUED]
        await self._session.execute(
            update(batches).where(batches.c.document_id.in_(going_on)).values(held=False, released_at=None, queued_at=func.now())
        )
        await self._session.execute(delete(batches).where(batches.c.document_id.in_(anew)))
        await self._wake_dispatcher()
        return retried

    async def rename(self, workspace_id: UUID, document_id: UUID, filename: str) -> Document | None:
        """The document under its new name. None when there is no such document."""
        return await self._change(
            and_(
                documents.c.document_id == document_id,
                documents.c.workspace_id == workspace_id,
                ALIVE,
            ),
            filename=filename,
        )

    async def delete(self, document_ids: Sequence[UUID]) -> list[Deletion]:
        """Leaves tombstones of documents that are locked, and removes all that belongs to them."""
        if not document_ids:
            return []
        keys = await object_keys(self._session, document_ids)
        count = select(func.count()).where(pages.c.document_id == documents.c.document_id).select_from(pages).scalar_subquery()
        deleted = await self._change_all(
            and_(documents.c.document_id.in_(document_ids), ALIVE),
            deleted_at=func.now(),
            erased_pages=count,
            password=None,
            cause={},
        )
        for table in (pages, units, batches, renderings, versions):
            await self._session.execute(delete(table).where(table.c.document_id.in_(document_ids)))
        await self._wake_dispatcher()
        return [Deletion(document, keys.get(document.document_id, [])) for document in deleted]

    async def note_erased(self, document_id: UUID) -> int | None:
        """The objects of a deleted document are gone: how many pages went with it. None when that was said before."""
        statement = (
            update(documents)
            .where(documents.c.document_id == document_id, documents.c.deleted_at.is_not(None), documents.c.erased_at.is_(None))
            .values(erased_at=func.now())
            .returning(func.coalesce(documents.c.erased_pages, 0))
        )
        erased: int | None = await self._session.scalar(statement)
        return erased

    # --- being looked at

    async def get(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """A document that is not deleted."""
        return await self._one(
            select(*SHOWN).where(
                documents.c.document_id == document_id,
                documents.c.workspace_id == workspace_id,
                ALIVE,
            )
        )

    async def find(
        self,
        workspace_id: UUID,
        *,
        status: DocumentStatus | None = None,
        q: str | None = None,
        content_type: str | None = None,
        source_id: UUID | None = None,
        page: int = 1,
        per_page: int = 20,
    ) -> tuple[list[Document], int]:
        """A page of documents, newest first, and how many there are in all."""
        which = _matching(workspace_id, q=q, source_id=source_id, statuses=None if status is None else (status,))
        if content_type is not None:
            which.append(documents.c.content_type == content_type)
        statement = (
            select(*SHOWN)
            .where(*which)
            .order_by(documents.c.created_at.desc(), documents.c.document_id.desc())
            .limit(per_page)
            .offset((page - 1) * per_page)
        )
        rows = (await self._session.execute(statement)).mappings().all()
        total = await self._session.scalar(select(func.count()).select_from(documents).where(*which))
        return [Document.model_validate(dict(row)) for row in rows], total or 0

    async def choose(
        self, workspace_id: UUID, *, q: str | None, source_id: UUID | None, statuses: Sequence[DocumentStatus] | None, limit: int
    ) -> tuple[list[UUID], int]:
        """The ids of up to `limit` documents, oldest first, and how many match in all."""
        which = _matching(workspace_id, q=q, source_id=source_id, statuses=statuses)
        ids = await self._session.scalars(
            select(documents.c.document_id).where(*which).order_by(documents.c.created_at, documents.c.document_id).limit(limit)
        )
        total = await self._session.scalar(select(func.count()).select_from(documents).where(*which))
        return list(ids), total or 0

    async def known(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the ids that were registered here, deleted ones included."""
        if not document_ids:
            return []
        statement = select(documents.c.document_id).where(
            documents.c.workspace_id == workspace_id, documents.c.document_id.in_(document_ids)
        )
        return list((await self._session.scalars(statement)).all())


def _matching(
    workspace_id: UUID, *, q: str | None, source_id: UUID | None, statuses: Sequence[DocumentStatus] | None
) -> list[ColumnElement[bool]]:
    which = [documents.c.workspace_id == workspace_id, documents.c.deleted_at.is_(None)]
    if statuses is not None:
        which.append(documents.c.status.in_(statuses))
    if q:
        which.append(documents.c.filename.icontains(q, autoescape=True))
    if source_id is not None:
        which.append(documents.c.source_id == source_id)
    return which

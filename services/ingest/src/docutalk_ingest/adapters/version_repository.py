"""Every query about versions of documents: how they come in, which are kept, and which objects are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import Document, DocumentStatus, DocumentVersion
from docutalk_common.db import Cause
from sqlalchemy import and_, delete, func, literal, select, union
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.document_rows import ALIVE, SHOWN, DocumentRows, stored_cause
from docutalk_ingest.adapters.tables import batches, documents, pages, renderings, units, versions
from docutalk_ingest.adapters.tombstones import NOBODY, admit
from docutalk_ingest.domain import MAX_NAMED_OBJECTS


@dataclass(frozen=True)
class Pruned:
    """Versions that are kept no longer, and the keys of their objects, at most `MAX_NAMED_OBJECTS`."""

    versions: list[int]
    object_keys: list[str]


def _columns_of(upload: DocumentUploaded, cause: Cause | None) -> dict[str, Any]:
    """A document's row when a version of it begins, but for its key and who made it."""
    return {
        "workspace_id": upload.workspace_id,
        "version": upload.version,
        "attempt": 1,
        "filename": upload.filename,
        "content_type": upload.content_type,
        "size": upload.size,
        "sha256": upload.sha256,
        "object_key": upload.object_key,
        "status": DocumentStatus.QUEUED,
        "code": None,
        "reason": None,
        "page_count": None,
        "pages_done": 0,
        "chunk_count": None,
        "chunks_done": 0,
        "batch_count": None,
        "metadata": {},
        "extractor": None,
        "text_hash": None,
        "source_id": None,
        "origin": None,
        "password": None,
        "unlocked_key": None,
        "released_at": None,
        "cause": stored_cause(cause),
    }


def _version_of(upload: DocumentUploaded, came_at: datetime) -> dict[str, Any]:
    """A version's row when it begins."""
    return {
        "document_id": upload.document_id,
        "version": upload.version,
        "filename": upload.filename,
        "content_type": upload.content_type,
        "size": upload.size,
        "sha256": upload.sha256,
        "object_key": upload.object_key,
        "created_by": upload.uploaded_by,
        "created_at": came_at,
    }


@dataclass(frozen=True)
class NewUpload:
    """The rows of a document and its versions: of an upload the first one, of an import all of them, oldest first."""

    document: dict[str, Any]
    versions: list[dict[str, Any]]

    @classmethod
    def of(cls, upload: DocumentUploaded, came_at: datetime, cause: Cause) -> NewUpload:
        """To be called where the upload is handled: the row keeps the trace that is at hand here."""
        about = {"document_id": upload.document_id, "created_by": upload.uploaded_by, "created_at": came_at}
        return cls(_columns_of(upload, cause) | about, [_version_of(upload, came_at)])

    def with_later(self, upload: DocumentUploaded, came_at: datetime) -> NewUpload:
        """With another version, which is read when those before it have come to their end."""
        return NewUpload(self.document, [*self.versions, _version_of(upload, came_at)])

    def nameless(self) -> NewUpload:
        """In nobody's name: whose it was is gone."""
        cause = self.document["cause"]
        about = {"created_by": NOBODY, "cause": cause | {"actor": None} if cause else cause}
        return NewUpload(self.document | about, [version | {"created_by": NOBODY} for version in self.versions])


class VersionRepository(DocumentRows):
    """Versions of documents, within the transaction of `session`."""

    async def register(
        self,
        upload: DocumentUploaded,
        *,
        uploaded_at: datetime,
        status: DocumentStatus = DocumentStatus.QUEUED,
        code: str | None = None,
        reason: str | None = None,
        source_id: UUID | None = None,
        origin: str | None = None,
        cause: Cause | None = None,
        released: bool = False,
    ) -> Document | None:
        """A new document, or a new version of one. None when this or a later version, or its deletion, is known already.
        Raises `WorkspaceErased`.

        Pages of earlier versions stay, and are served until the new one is ready; their waiting batches go. `released`: its
        extraction is ordered by the caller; otherwise the dispatcher will do it.
        """
        if await admit(self._session, [upload.workspace_id], [upload.uploaded_by]):
            upload = upload.model_copy(update={"uploaded_by": NOBODY})
            cause = replace(cause, actor=None) if cause else None
        values = _columns_of(upload, cause) | {
            "status": status,
            "code": code,
            "reason": reason,
            "source_id": source_id,
            "origin": origin,
            "released_at": func.now() if released else None,
        }
        statement = (
            insert(documents)
            .values(document_id=upload.document_id, created_by=upload.uploaded_by, created_at=uploaded_at, **values)
            .on_conflict_do_update(
                index_elements=[documents.c.document_id],
                set_={**values, "updated_at": func.now(), "queued_at": func.now(), "progressed_at": None},
                where=and_(
                    documents.c.version < upload.version,
                    documents.c.workspace_id == upload.workspace_id,
                    ALIVE,
                ),
            )
            .returning(*SHOWN)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        if row is None:
            return None
        await self._session.execute(insert(versions).values(_version_of(upload, uploaded_at)).on_conflict_do_nothing())
        if upload.version > 1:
            await self._session.execute(
                delete(batches).where(batches.c.document_id == upload.document_id, batches.c.version < upload.version)
            )
        if not released:
            await self._wake_dispatcher()
        return Document.model_validate(dict(row))

    async def register_new(self, uploads: Sequence[NewUpload]) -> list[Document]:
        """Registers new documents together; those that are known already are left out. Raises `WorkspaceErased`."""
        if not uploads:
            return []
        rows = [upload.document for upload in uploads]
        gone = await admit(self._session, (row["workspace_id"] for row in rows), (row["created_by"] for row in rows))
        uploads = [upload.nameless() if upload.document["created_by"] in gone else upload for upload in uploads]
        added = await self._session.execute(
            insert(documents).on_conflict_do_nothing().returning(*SHOWN), [upload.document for upload in uploads]
        )
        registered = [Document.model_validate(dict(row)) for row in added.mappings()]
        known = {document.document_id for document in registered}
        new = [version for upload in uploads if upload.document["document_id"] in known for version in upload.versions]
        if new:
            await self._session.execute(insert(versions).on_conflict_do_nothing(), new)
            await self._wake_dispatcher()
        return registered

    async def prune(self, document_id: UUID, keep: int) -> Pruned | None:
        """Forgets the versions before the newest `keep`, but for the one that is served. None when there are none."""
        served = select(documents.c.served_version).where(documents.c.document_id == document_id).scalar_subquery()
        newest = (
            select(versions.c.version)
            .where(versions.c.document_id == document_id)
            .order_by(versions.c.version.desc())
            .limit(keep)
            .scalar_subquery()
        )
        old = await self._session.scalars(
            select(versions.c.version)
            .where(
                versions.c.document_id == document_id,
                versions.c.version.not_in(newest),
                versions.c.version != func.coalesce(served, 0),
            )
            .order_by(versions.c.version)
        )
        numbers = list(old)
        if not numbers:
            return None
        keys = await object_keys(self._session, [document_id], numbers)
        for table in (pages, units, batches, renderings, versions):
            await self._session.execute(delete(table).where(table.c.document_id == document_id, table.c.version.in_(numbers)))
        return Pruned(numbers, keys.get(document_id, []))

    async def newest(self, document_id: UUID) -> int:
        """The number of the newest version that is kept, also of one that waits for those before it; 0 when there is none."""
        return await self._session.scalar(select(func.max(versions.c.version)).where(versions.c.document_id == document_id)) or 0

    async def versions(self, document_id: UUID) -> list[DocumentVersion]:
        """The versions that are kept, newest first."""
        shown = [versions.c[name] for name in DocumentVersion.model_fields]
        rows = await self._session.execute(
            select(*shown).where(versions.c.document_id == document_id).order_by(versions.c.version.desc())
        )
        return [DocumentVersion.model_validate(dict(row)) for row in rows.mappings()]

    async def known_objects(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys under which something of a document lies that is not deleted."""
        if not keys:
            return []
        found = union(
            select(versions.c.object_key).where(versions.c.object_key.in_(keys)),
            select(versions.c.unlocked_key).where(versions.c.unlocked_key.in_(keys)),
            select(renderings.c.object_key).where(renderings.c.object_key.in_(keys)),
        )
        return list((await self._session.scalars(found)).all())


async def object_keys(
    session: AsyncSession, document_ids: Sequence[UUID], only: Sequence[int] | None = None
) -> dict[UUID, list[str]]:
    """The keys of all versions, or only of those, by document: files, copies without protection, pictures. Of each document
    the first thousand, in this order."""
    parts = []
    for rank, (table, column) in enumerate(
        (
            (versions, versions.c.object_key),
            (versions, versions.c.unlocked_key),
            (renderings, renderings.c.object_key),
        )
    ):
        which = [table.c.document_id.in_(document_ids), column.is_not(None)]
        if only is not None:
            which.append(table.c.version.in_(only))
        parts.append(select(table.c.document_id, column.label("object_key"), literal(rank).label("rank")).where(*which))
    found: dict[UUID, list[str]] = {}
    for document_id, key, _ in await session.execute(union(*parts).order_by("rank")):
        keys = found.setdefault(document_id, [])
        if len(keys) < MAX_NAMED_OBJECTS:
            keys.append(key)
    return found

"""Documents as ingest knows them, together with uploads that it has not taken up yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.contracts.ingest import (
    Document,
    DocumentList,
    DocumentStatus,
    DocumentVersion,
    GetDocument,
    ListDocuments,
    ListVersions,
    VersionList,
)
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload
from docutalk_gateway.domain import VersionsFromSource

# An upload is unseen for moments only, or while ingest is down, when a list is refused anyway.
PENDING_MAX = 500


def queued(upload: Upload, before: Document | None = None) -> Document:
    """A document, or its next version, that ingest does not know yet. `before` is the document as ingest knows it."""
    return Document(
        document_id=upload.document_id,
        workspace_id=upload.workspace_id,
        filename=upload.filename,
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        object_key=upload.object_key,
        status=DocumentStatus.QUEUED,
        version=upload.version,
        served_version=before.served_version if before else None,
        created_at=before.created_at if before else upload.created_at,
        updated_at=upload.created_at,
    )


async def get_document(db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID) -> Document:
    """A document; `queued` while ingest does not know it, also when ingest is down. Raises `NotFound`, `RequestFailed`."""
    async with db.read() as session:
        upload = await repository.upload_of(session, workspace_id, document_id)
    unseen = upload is not None and upload.seen_at is None
    question = GetDocument(workspace_id=workspace_id, document_id=document_id)
    try:
        document = await requests.ask("rpc.ingest.v1.document.get", question, Document, cause=cause)
    except NotFound:
        if upload is not None and unseen:
            return queued(upload)
        raise NotFound("There is no such document.") from None
    except RequestFailed as error:
        if upload is not None and unseen and error.code in {"unavailable", "timeout"}:
            return queued(upload)
        raise
    if upload is not None and unseen:
        await _mark_seen(db, cause, {document_id: document.version})
        if document.version < upload.version:
            return queued(upload, document)
    return document


@dataclass(frozen=True)
class StoredContent:
    """The bytes of one version of a document, and what they are called."""

    object_key: str
    filename: str
    content_type: str
    size: int
    sha256: str

    @classmethod
    def of(cls, found: Upload | Document | DocumentVersion) -> StoredContent:
        """From wherever it is known."""
        return cls(found.object_key, found.filename, found.content_type, found.size, found.sha256)


async def find_content(
    db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID, *, version: int | None
) -> StoredContent:
    """Where the bytes of a version lie, of the newest without one. What was uploaded and is current is known here, also while
    ingest is down; of older versions, and of what sources brought, ingest tells. Raises `NotFound`, `RequestFailed`."""
    async with db.read() as session:
        upload = await repository.upload_of(session, workspace_id, document_id, version=version)
    if upload is not None and (upload.superseded_at is None or upload.seen_at is None):
        return StoredContent.of(upload)
    if version is None:
        question = GetDocument(workspace_id=workspace_id, document_id=document_id)
        return StoredContent.of(await requests.ask("rpc.ingest.v1.document.get", question, Document, cause=cause))
    for kept in (await list_versions(db, requests, cause, workspace_id, document_id)).items:
        if kept.version == version:
            return StoredContent.of(kept)
    raise NotFound("There is no such version of this document, or it is not kept any more.")


async def list_versions(
    db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID
) -> VersionList:
    """The versions that are kept, newest first, with one that ingest does not know yet. Raises `NotFound`, `RequestFailed`."""
    async with db.read() as session:
        upload = await repository.upload_of(session, workspace_id, document_id)
    question = ListVersions(workspace_id=workspace_id, document_id=document_id)
    try:
        found = await requests.ask("rpc.ingest.v1.version.list", question, VersionList, cause=cause)
    except NotFound:
        if upload is None or upload.seen_at is not None:
            raise NotFound("There is no such document.") from None
        found = VersionList(items=[])
    if upload is None or any(kept.version >= upload.version for kept in found.items):
        return found
    newest = DocumentVersion(
        version=upload.version,
        filename=upload.filename,
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        object_key=upload.object_key,
        created_by=upload.uploaded_by,
        created_at=upload.created_at,
    )
    return found.model_copy(update={"items": [newest, *found.items]})


async def expect_uploaded(db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID) -> None:
    """Raises `NotFound`, and `VersionsFromSource` for a document that nobody uploaded."""
    async with db.read() as session:
        upload = await repository.upload_of(session, workspace_id, document_id)
    if upload is None:
        await get_document(db, requests, cause, workspace_id, document_id)
        raise VersionsFromSource


async def status_of(db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID) -> DocumentStatus:
    """Where a document is, for the answer to an upload: `queued` when nobody can say more."""
    try:
        return (await get_document(db, requests, cause, workspace_id, document_id)).status
    except RequestFailed:
        return DocumentStatus.QUEUED


@dataclass(frozen=True)
class Wanted:
    """Which documents of a workspace. `q` is a part of the name; None restricts nothing. `document_id` names the only one, if all
    the rest holds for it."""

    status: DocumentStatus | None = None
    q: str | None = None
    content_type: str | None = None
    source_id: UUID | None = None
    document_id: UUID | None = None

    def includes(self, upload: Upload) -> bool:
        """Whether an upload that ingest does not know is among them."""
        return (
            self.status in {None, DocumentStatus.QUEUED}
            and (not self.q or self.q.casefold() in upload.filename.casefold())
            and self.content_type in {None, upload.content_type}
            and self.source_id is None
        )

    def includes_known(self, document: Document) -> bool:
        """Whether a document is among them."""
        return (
            self.status in {None, document.status}
            and (not self.q or self.q.casefold() in document.filename.casefold())
            and self.content_type in {None, document.content_type}
            and self.source_id in {None, document.source_id}
        )


async def _only(db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID) -> list[Document]:
    try:
        return [await get_document(db, requests, cause, workspace_id, document_id)]
    except NotFound:
        return []


async def list_documents(
    db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, wanted: Wanted, *, page: int, per_page: int
) -> tuple[list[Document], int]:
    """A page of documents, newest first, and how many there are. Uploads that ingest does not know come first, as `queued`."""
    if wanted.document_id is not None:
        found_one = await _only(db, requests, cause, workspace_id, wanted.document_id)
        only = [document for document in found_one if wanted.includes_known(document)]
        return only[(page - 1) * per_page :][:per_page], len(only)
    async with db.read() as session:
        unseen = {u.document_id: u for u in await repository.unseen_uploads(session, workspace_id, limit=PENDING_MAX)}

    async def ask(number: int, pending: Sequence[UUID] = ()) -> DocumentList:
        question = ListDocuments(
            workspace_id=workspace_id,
            status=wanted.status,
            q=wanted.q,
            content_type=wanted.content_type,
            source_id=wanted.source_id,
            page=number,
            per_page=per_page,
            pending_ids=list(pending),
        )
        return await requests.ask("rpc.ingest.v1.document.list", question, DocumentList, cause=cause)

    found = await ask(page, list(unseen))
    # Of a later version ingest only says here whether it knows the document; the item itself tells the version.
    seen = dict.fromkeys((i for i in found.known_ids if i in unseen and unseen[i].version == 1), 1)
    seen |= {item.document_id: item.version for item in found.items if item.document_id in unseen}
    if seen:
        await _mark_seen(db, cause, seen)
    known = set(found.known_ids) | set(seen)
    first = [queued(upload) for upload in unseen.values() if upload.document_id not in known and wanted.includes(upload)]
    total = found.total + len(first)
    # The unknown ones push ingest's own list back by as many places, across its page borders.
    start = (page - 1) * per_page
    items = first[start : start + per_page]
    offset = max(0, start - len(first))
    missing = per_page - len(items)
    if missing:
        number, skip = offset // per_page + 1, offset % per_page
        behind = (found if number == page else await ask(number)).items
        if skip + missing > per_page and len(behind) == per_page:
            behind = behind + (found if number + 1 == page else await ask(number + 1)).items
        items += behind[skip : skip + missing]
    if wanted.status is not None:
        return items, total
    return [_newest(item, unseen.get(item.document_id)) for item in items], total


def _newest(document: Document, upload: Upload | None) -> Document:
    return queued(upload, document) if upload is not None and document.version < upload.version else document


async def _mark_seen(db: Database, cause: Cause, versions: Mapping[UUID, int]) -> None:
    async with db.transaction(cause) as tx:
        await repository.mark_seen(tx.session, versions, datetime.now(UTC))

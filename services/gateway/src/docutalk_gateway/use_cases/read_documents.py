"""Documents as ingest knows them, together with uploads that it has not taken up yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.contracts.ingest import Document, DocumentList, DocumentStatus, GetDocument, ListDocuments
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload

# An upload is unseen for moments only, or while ingest is down, when a list is refused anyway.
PENDING_MAX = 500


def queued(upload: Upload) -> Document:
    """A document that ingest does not know yet."""
    return Document(
        document_id=upload.document_id,
        workspace_id=upload.workspace_id,
        filename=upload.filename,
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        object_key=upload.object_key,
        status=DocumentStatus.QUEUED,
        created_at=upload.created_at,
        updated_at=upload.created_at,
    )


async def find_upload(db: Database, workspace_id: UUID, document_id: UUID) -> Upload:
    """The upload behind a document. Raises `NotFound`."""
    async with db.read() as session:
        upload = await repository.upload_of(session, workspace_id, document_id)
    if upload is None:
        raise NotFound("There is no such document.")
    return upload


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
    if unseen:
        await _mark_seen(db, cause, [document_id])
    return document


async def status_of(db: Database, requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID) -> DocumentStatus:
    """Where a document is, for the answer to an upload: `queued` when nobody can say more."""
    try:
        return (await get_document(db, requests, cause, workspace_id, document_id)).status
    except RequestFailed:
        return DocumentStatus.QUEUED


async def list_documents(
    db: Database,
    requests: RequestClient,
    cause: Cause,
    workspace_id: UUID,
    *,
    status: DocumentStatus | None,
    q: str | None,
    page: int,
    per_page: int,
) -> tuple[list[Document], int]:
    """A page of documents, newest first, and how many there are. Uploads that ingest does not know come first, as `queued`."""
    async with db.read() as session:
        unseen = await repository.unseen_uploads(session, workspace_id, limit=PENDING_MAX)

    async def ask(number: int, pending: Sequence[UUID] = ()) -> DocumentList:
        question = ListDocuments(
            workspace_id=workspace_id, status=status, q=q, page=number, per_page=per_page, pending_ids=list(pending)
        )
        return await requests.ask("rpc.ingest.v1.document.list", question, DocumentList, cause=cause)

    found = await ask(page, [upload.document_id for upload in unseen])
    if found.known_ids:
        await _mark_seen(db, cause, found.known_ids)
    known = set(found.known_ids)
    first = [queued(upload) for upload in unseen if upload.document_id not in known and _matches(upload, status, q)]
    total = found.total + len(first)
    if not first:
        return found.items, total
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
    return items, total


def _matches(upload: Upload, status: DocumentStatus | None, q: str | None) -> bool:
    return status in {None, DocumentStatus.QUEUED} and (not q or q.casefold() in upload.filename.casefold())


async def _mark_seen(db: Database, cause: Cause, document_ids: Sequence[UUID]) -> None:
    async with db.transaction(cause) as tx:
        await repository.mark_seen(tx.session, document_ids, datetime.now(UTC))

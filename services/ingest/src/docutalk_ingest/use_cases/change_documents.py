"""Somebody retries, cancels or deletes many documents at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from docutalk_common.contracts.ingest import (
    BulkAction,
    ChangeDocuments,
    Document,
    DocumentRefused,
    DocumentsChanged,
    DocumentStatus,
)
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.domain import RETRIABLE, UNFINISHED
from docutalk_ingest.use_cases.cancel_document import cancel_documents, why_not_cancelled
from docutalk_ingest.use_cases.delete_document import delete_documents
from docutalk_ingest.use_cases.retry_document import retry_documents, why_not_retried

MAX_CHANGED = 500

_POSSIBLE: dict[BulkAction, Sequence[DocumentStatus]] = {
    BulkAction.RETRY: RETRIABLE,
    BulkAction.CANCEL: UNFINISHED,
    BulkAction.DELETE: tuple(DocumentStatus),
}
_REFUSALS: dict[BulkAction, Callable[[Document], str | None]] = {
    BulkAction.RETRY: why_not_retried,
    BulkAction.CANCEL: why_not_cancelled,
    BulkAction.DELETE: lambda _: None,
}


async def change_documents(request: ChangeDocuments, cause: Cause, db: Database) -> DocumentsChanged:
    """All in one transaction. Chosen by id, each document that cannot be changed is refused with a reason; chosen by filter,
    only those are meant that can be changed, so that asking again comes to an end.

    Raises `RequestFailed("invalid")` for more than 500 ids, and for deleting with nothing that says which.
    """
    if len(request.document_ids) > MAX_CHANGED:
        raise RequestFailed("invalid", f"At most {MAX_CHANGED} documents can be named at once.")
    chosen_by_nothing = not (request.document_ids or request.status or request.q or request.source_id)
    if request.action == BulkAction.DELETE and chosen_by_nothing:
        raise RequestFailed("invalid", "Say which documents are to be deleted: by id, status, name or source.")
    async with db.transaction(cause) as transaction:
        repository = DocumentRepository(transaction.session)
        ids, matching = await _choose(repository, request)
        found = await repository.lock_some(request.workspace_id, ids)
        refused = [_refusal(request.action, id_, found.get(id_)) for id_ in ids]
        refusals = [refusal for refusal in refused if refusal is not None]
        unchanged = {refusal.document_id for refusal in refusals}
        changed = [id_ for id_ in ids if id_ not in unchanged]
        await _act(transaction, request, changed)
    return DocumentsChanged(
        document_ids=changed,
        refused=refusals if request.document_ids else [],
        remaining=max(0, matching - len(ids)),
    )


async def _choose(repository: DocumentRepository, request: ChangeDocuments) -> tuple[list[UUID], int]:
    if request.document_ids:
        ids = list(dict.fromkeys(request.document_ids))
        return ids, len(ids)
    possible = _POSSIBLE[request.action]
    statuses = possible if request.status is None else [status for status in possible if status == request.status]
    return await repository.choose(
        request.workspace_id, q=request.q, source_id=request.source_id, statuses=statuses, limit=MAX_CHANGED
    )


def _refusal(action: BulkAction, document_id: UUID, document: Document | None) -> DocumentRefused | None:
    if document is None:
        return DocumentRefused(document_id=document_id, code="not_found", reason="There is no such document in this workspace.")
    reason = _REFUSALS[action](document)
    return DocumentRefused(document_id=document_id, code="conflict", reason=reason) if reason else None


async def _act(transaction: Transaction, request: ChangeDocuments, document_ids: Sequence[UUID]) -> None:
    if request.action == BulkAction.RETRY:
        await retry_documents(transaction, document_ids, request.changed_by)
    elif request.action == BulkAction.CANCEL:
        await cancel_documents(transaction, document_ids, request.changed_by)
    else:
        await delete_documents(transaction, document_ids, request.changed_by)

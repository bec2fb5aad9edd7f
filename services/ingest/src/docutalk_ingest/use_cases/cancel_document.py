"""Somebody stops the work on a document."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docutalk_common.contracts.ingest import CancelDocument, Document, DocumentCancelled
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.domain import UNFINISHED


async def cancel_document(request: CancelDocument, cause: Cause, db: Database) -> Document:
    """The document, `cancelled`. A reader that is at it is stopped within half a second; an earlier version serves on.

    Raises `NotFound`, and `RequestFailed("conflict")` when the document has come to its end.
    """
    async with db.transaction(cause) as transaction:
        found = await DocumentRepository(transaction.session).lock_some(request.workspace_id, [request.document_id])
        if not found:
            raise NotFound("There is no such document in this workspace.")
        refusal = why_not_cancelled(found[request.document_id])
        if refusal:
            raise RequestFailed("conflict", refusal)
        return (await cancel_documents(transaction, [request.document_id], request.cancelled_by))[0]


def why_not_cancelled(document: Document) -> str | None:
    """Why there is nothing to stop; None when there is."""
    if document.status in UNFINISHED:
        return None
    return f"{document.filename} is {document.status}: nothing is being done that could be cancelled."


async def cancel_documents(transaction: Transaction, document_ids: Sequence[UUID], cancelled_by: UUID) -> list[Document]:
    """Cancels documents whose rows are locked and which are unfinished."""
    cancelled = await DocumentRepository(transaction.session).cancel(document_ids)
    for document in cancelled:
        transaction.emit(
            DocumentCancelled(
                workspace_id=document.workspace_id,
                document_id=document.document_id,
                version=document.version,
                attempt=document.attempt,
                cancelled_by=cancelled_by,
            )
        )
    return cancelled

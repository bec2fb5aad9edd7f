"""Somebody wants a document to be tried again: from the step that failed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docutalk_common.contracts.ingest import Document, DocumentRetried, DocumentStatus, RetryDocument
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.domain import RETRIABLE
from docutalk_ingest.use_cases.tell_progress import progress_of


async def retry_document(request: RetryDocument, cause: Cause, db: Database) -> Document:
    """The document, on its way again. What was stored of it is not done twice.

    Raises `NotFound`, and `RequestFailed("conflict")` when it has neither failed nor been cancelled.
    """
    async with db.transaction(cause) as transaction:
        found = await DocumentRepository(transaction.session).lock_some(request.workspace_id, [request.document_id])
        if not found:
            raise NotFound("There is no such document in this workspace.")
        refusal = why_not_retried(found[request.document_id])
        if refusal:
            raise RequestFailed("conflict", refusal)
        ids = [request.document_id]
        return (await retry_documents(transaction, ids, request.retried_by, password=request.password))[0]


def why_not_retried(document: Document) -> str | None:
    """Why there is nothing to try again; None when there is."""
    if document.status in RETRIABLE:
        return None
    if document.status == DocumentStatus.READY:
        return f"{document.filename} is ready: there is nothing to try again."
    return f"{document.filename} is {document.status}: it is being worked on. Cancel it first to begin again."


async def retry_documents(
    transaction: Transaction, document_ids: Sequence[UUID], retried_by: UUID, *, password: str | None = None
) -> list[Document]:
    """Begins another attempt at documents whose rows are locked and which failed or were cancelled."""
    repository = DocumentRepository(transaction.session)
    retried = await repository.retry(document_ids, password=password, cause=transaction.cause)
    for document in retried:
        embedding = document.status == DocumentStatus.EMBEDDING
        transaction.emit(
            DocumentRetried(
                workspace_id=document.workspace_id,
                document_id=document.document_id,
                version=document.version,
                attempt=document.attempt,
                step=DocumentStatus.EMBEDDING if embedding else DocumentStatus.EXTRACTING,
                retried_by=retried_by,
            )
        )
        transaction.emit(progress_of(document))
    return retried

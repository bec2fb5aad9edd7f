"""Somebody deletes a document: it is gone at once; bytes and passages follow by event."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docutalk_common.contracts.ingest import DeleteDocument, DocumentDeleted, DocumentRemoved
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.document_repository import DocumentRepository


async def delete_document(request: DeleteDocument, cause: Cause, db: Database) -> DocumentRemoved:
    """Leaves a tombstone, so that late messages about the document find nothing to change.

    Raises `NotFound` for what does not exist, is in another workspace, or was deleted before.
    """
    async with db.transaction(cause) as transaction:
        found = await DocumentRepository(transaction.session).lock_some(request.workspace_id, [request.document_id])
        if not found:
            raise NotFound("There is no such document in this workspace.")
        await delete_documents(transaction, list(found), request.deleted_by)
    return DocumentRemoved(document_id=request.document_id)


async def delete_documents(transaction: Transaction, document_ids: Sequence[UUID], deleted_by: UUID | None) -> None:
    """Deletes documents whose rows are locked: their text is gone with the commit. Work on them ends within a second."""
    for deletion in await DocumentRepository(transaction.session).delete(document_ids):
        transaction.emit(
            DocumentDeleted(
                workspace_id=deletion.document.workspace_id,
                document_id=deletion.document.document_id,
                version=deletion.document.version,
                object_keys=deletion.object_keys,
                deleted_by=deleted_by,
            )
        )

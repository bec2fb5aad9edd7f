"""Somebody deletes a document: it is gone at once; bytes and passages follow by event."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DeleteDocument, DocumentDeleted, DocumentRemoved
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.repository import DocumentRepository


async def delete_document(request: DeleteDocument, cause: Cause, db: Database) -> DocumentRemoved:
    """Leaves a tombstone, so that late messages about the document find nothing to change.

    Raises `NotFound` for what does not exist, is in another workspace, or was deleted before.
    """
    async with db.transaction(cause) as transaction:
        document = await DocumentRepository(transaction.session).delete(request.workspace_id, request.document_id)
        if document is None:
            raise NotFound("There is no such document in this workspace.")
        transaction.emit(
            DocumentDeleted(
                workspace_id=document.workspace_id,
                document_id=document.document_id,
                version=document.version,
                object_keys=[document.object_key],
                deleted_by=request.deleted_by,
            )
        )
    return DocumentRemoved(document_id=request.document_id)

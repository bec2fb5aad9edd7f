"""Somebody gives a document another name."""

from __future__ import annotations

from docutalk_common.contracts.ingest import Document, DocumentRenamed, RenameDocument
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.domain import freeze


async def rename_document(request: RenameDocument, cause: Cause, db: Database) -> Document:
    """The document under its new name. How its file is read does not change: that goes by the name it came with.

    Raises `NotFound`, and `RequestFailed("invalid")` for a name without a visible character.
    """
    filename = " ".join(freeze(request.filename).split())
    if not filename:
        raise RequestFailed("invalid", "A document needs a name.")
    async with db.transaction(cause) as transaction:
        document = await DocumentRepository(transaction.session).rename(request.workspace_id, request.document_id, filename)
        if document is None:
            raise NotFound("There is no such document in this workspace.")
        transaction.emit(
            DocumentRenamed(
                workspace_id=document.workspace_id,
                document_id=document.document_id,
                version=document.version,
                filename=filename,
                renamed_by=request.renamed_by,
            )
        )
    return document

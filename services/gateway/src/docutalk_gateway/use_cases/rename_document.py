"""A document gets another name."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.ingest import Document, RenameDocument
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.use_cases.ask_about import ask_about


async def rename_document(
    db: Database, requests: RequestClient, cause: Cause, *, workspace_id: UUID, document_id: UUID, user_id: UUID, filename: str
) -> Document:
    """The document under its new name, which also downloads and later duplicates show. Raises `NotFound`,
    `DocumentNotRegistered`, `RequestFailed`."""
    question = RenameDocument(workspace_id=workspace_id, document_id=document_id, filename=filename, renamed_by=user_id)

    async def ask() -> Document:
        return await requests.ask("rpc.ingest.v1.document.rename", question, Document, cause=cause)

    renamed = await ask_about(db, workspace_id, document_id, ask)
    async with db.transaction(cause) as tx:
        await repository.rename_uploads(tx.session, workspace_id, document_id, filename)
    return renamed

"""A document goes, and its bytes may come again."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.ingest import DeleteDocument, DocumentRemoved
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.use_cases.ask_about import ask_about


async def delete_document(
    db: Database, requests: RequestClient, cause: Cause, *, workspace_id: UUID, document_id: UUID, user_id: UUID
) -> None:
    """Asks ingest, which owns the document, then frees the hash. Raises `NotFound`, `DocumentNotRegistered` for an upload
    that ingest does not register in time, `RequestFailed` while ingest is down."""
    question = DeleteDocument(workspace_id=workspace_id, document_id=document_id, deleted_by=user_id)

    async def ask() -> DocumentRemoved:
        return await requests.ask("rpc.ingest.v1.document.delete", question, DocumentRemoved, cause=cause)

    await ask_about(db, workspace_id, document_id, ask)
    async with db.transaction(cause) as tx:
        await repository.delete_uploads(tx.session, workspace_id, [document_id])

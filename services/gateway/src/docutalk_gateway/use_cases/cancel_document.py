"""Work on a document stops."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.ingest import CancelDocument, Document
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.use_cases.ask_about import ask_about


async def cancel_document(
    db: Database, requests: RequestClient, cause: Cause, *, workspace_id: UUID, document_id: UUID, user_id: UUID
) -> Document:
    """The document, cancelled. Raises `NotFound`, `RequestFailed("conflict")` when its work has come to an end,
    `DocumentNotRegistered`."""
    question = CancelDocument(workspace_id=workspace_id, document_id=document_id, cancelled_by=user_id)

    async def ask() -> Document:
        return await requests.ask("rpc.ingest.v1.document.cancel", question, Document, cause=cause)

    return await ask_about(db, workspace_id, document_id, ask)

"""Work on a failed or cancelled document begins again."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.ingest import Document, RetryDocument
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.use_cases.ask_about import ask_about


async def retry_document(
    db: Database,
    requests: RequestClient,
    cause: Cause,
    *,
    workspace_id: UUID,
    document_id: UUID,
    user_id: UUID,
    password: str | None,
) -> Document:
    """The document on its way again; `password` opens an encrypted one. Raises `NotFound`, `RequestFailed("conflict")` when it
    has neither failed nor been cancelled, `DocumentNotRegistered`."""
    question = RetryDocument(workspace_id=workspace_id, document_id=document_id, retried_by=user_id, password=password)

    async def ask() -> Document:
        return await requests.ask("rpc.ingest.v1.document.retry", question, Document, cause=cause)

    return await ask_about(db, workspace_id, document_id, ask)

"""What can be done to documents: retry, cancel, and one action on many."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from docutalk_common.contracts.ingest import ChangeDocuments
from fastapi import APIRouter

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Member
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute
from docutalk_gateway.use_cases.cancel_document import cancel_document
from docutalk_gateway.use_cases.change_documents import change_documents
from docutalk_gateway.use_cases.retry_document import retry_document

router = APIRouter(tags=["documents"], route_class=IdempotentRoute)

_KEY: dict[str, Any] = {"parameters": [HEADER_PARAMETER]}


@router.post("/workspaces/{workspace_id}/documents/bulk", openapi_extra=_KEY)
async def change_many(access: Member, body: shapes.BulkChange) -> shapes.BulkChanged:
    """Retries, cancels or deletes many documents, at most 500 at a time. One that cannot is told and does not stop the others."""
    question = ChangeDocuments(
        workspace_id=access.workspace_id,
        action=body.action,
        document_ids=body.document_ids or [],
        status=body.status,
        q=body.q,
        source_id=body.source_id,
        changed_by=access.user_id,
    )
    gateway = access.gateway
    changed = await change_documents(gateway.db, gateway.broker.requests, access.cause, question)
    return shapes.BulkChanged.model_validate(changed.model_dump())


@router.post("/workspaces/{workspace_id}/documents/{document_id}/retry", status_code=202, openapi_extra=_KEY)
async def retry(access: Member, document_id: UUID, body: shapes.Retry | None = None) -> shapes.Document:
    """Begins again with a document that failed or was cancelled, at the step that it did not get through. `409` otherwise."""
    gateway = access.gateway
    document = await retry_document(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        workspace_id=access.workspace_id,
        document_id=document_id,
        user_id=access.user_id,
        password=body.password.get_secret_value() if body and body.password else None,
    )
    return shapes.Document.of(document)


@router.post("/workspaces/{workspace_id}/documents/{document_id}/cancel", status_code=202, openapi_extra=_KEY)
async def cancel(access: Member, document_id: UUID) -> shapes.Document:
    """Stops the work on a document, also while it is being read. `409` when there is none any more."""
    gateway = access.gateway
    document = await cancel_document(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        workspace_id=access.workspace_id,
        document_id=document_id,
        user_id=access.user_id,
    )
    return shapes.Document.of(document)

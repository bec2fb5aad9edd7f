"""One action on many documents."""

from __future__ import annotations

from docutalk_common.contracts.ingest import BulkAction, ChangeDocuments, DocumentRefused, DocumentsChanged
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.domain import DocumentNotRegistered

# Up to 500 documents, each with rows and an event of its own.
CHANGES_WITHIN_SECONDS = 20.0


async def change_documents(db: Database, requests: RequestClient, cause: Cause, question: ChangeDocuments) -> DocumentsChanged:
    """What was changed and what was refused, and why. Hashes of deleted documents are free. Raises `RequestFailed`."""
    changed = await requests.ask(
        "rpc.ingest.v1.document.change", question, DocumentsChanged, cause=cause, timeout=CHANGES_WITHIN_SECONDS
    )
    if question.action is BulkAction.DELETE and changed.document_ids:
        async with db.transaction(cause) as tx:
            await repository.delete_uploads(tx.session, question.workspace_id, changed.document_ids)
    missing = [item.document_id for item in changed.refused if item.code == "not_found"]
    async with db.read() as session:
        waiting = await repository.unregistered(session, question.workspace_id, missing)
    refused = [_not_yet(item) if item.document_id in waiting else item for item in changed.refused]
    return changed.model_copy(update={"refused": refused})


def _not_yet(item: DocumentRefused) -> DocumentRefused:
    error = DocumentNotRegistered()
    return DocumentRefused(document_id=item.document_id, code=error.code, reason=str(error))

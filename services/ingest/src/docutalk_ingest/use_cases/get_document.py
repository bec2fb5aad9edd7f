"""How is one document?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import Document, GetDocument
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.use_cases.estimate import with_estimates


async def get_document(request: GetDocument, db: Database, *, slots: int) -> Document:
    """With its place in line and an estimate. Raises `NotFound`, also for a document of another workspace."""
    async with db.read() as session:
        document = await DocumentRepository(session).get(request.workspace_id, request.document_id)
        if document is None:
            raise NotFound("There is no such document in this workspace.")
        return (await with_estimates(session, request.workspace_id, [document], slots))[0]

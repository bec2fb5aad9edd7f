"""Which documents does a workspace hold?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentList, ListDocuments
from docutalk_common.db import Database

from docutalk_ingest.adapters.repository import DocumentRepository

MAX_PER_PAGE = 200


async def list_documents(request: ListDocuments, db: Database) -> DocumentList:
    """Newest first. `per_page` is held between 1 and 200."""
    async with db.read() as session:
        repository = DocumentRepository(session)
        items, total = await repository.find(
            request.workspace_id,
            status=request.status,
            q=request.q,
            page=max(1, request.page),
            per_page=min(max(1, request.per_page), MAX_PER_PAGE),
        )
        known = await repository.known(request.workspace_id, request.pending_ids)
    return DocumentList(items=items, total=total, known_ids=known)

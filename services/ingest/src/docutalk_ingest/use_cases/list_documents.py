"""Which documents does a workspace hold?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentList, ListDocuments
from docutalk_common.db import Database

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.use_cases.estimate import with_estimates

MAX_PER_PAGE = 200


async def list_documents(request: ListDocuments, db: Database, *, slots: int) -> DocumentList:
    """Newest first. `per_page` is held between 1 and 200."""
    async with db.read() as session:
        repository = DocumentRepository(session)
        items, total = await repository.find(
            request.workspace_id,
            status=request.status,
            q=request.q,
            content_type=request.content_type,
            source_id=request.source_id,
            page=max(1, request.page),
            per_page=min(max(1, request.per_page), MAX_PER_PAGE),
        )
        items = await with_estimates(session, request.workspace_id, items, slots)
        known = await repository.known(request.workspace_id, request.pending_ids)
    return DocumentList(items=items, total=total, known_ids=known)

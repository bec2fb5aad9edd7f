"""Which documents does a workspace hold?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import DocumentList, ListDocuments
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.list_documents import list_documents


def request_document_list(db: Database, slots: int) -> Callable[[ListDocuments, Cause], Awaitable[DocumentList]]:
    """The answerer of `rpc.ingest.v1.document.list`."""

    async def answer(request: ListDocuments, _cause: Cause) -> DocumentList:
        return await list_documents(request, db, slots=slots)

    return answer

"""Somebody changes many documents at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ChangeDocuments, DocumentsChanged
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.change_documents import change_documents


def request_document_change(db: Database) -> Callable[[ChangeDocuments, Cause], Awaitable[DocumentsChanged]]:
    """The answerer of `rpc.ingest.v1.document.change`."""

    async def answer(request: ChangeDocuments, cause: Cause) -> DocumentsChanged:
        return await change_documents(request, cause, db)

    return answer

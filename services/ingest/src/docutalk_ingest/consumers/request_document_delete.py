"""Somebody deletes a document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import DeleteDocument, DocumentRemoved
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.delete_document import delete_document


def request_document_delete(db: Database) -> Callable[[DeleteDocument, Cause], Awaitable[DocumentRemoved]]:
    """The answerer of `rpc.ingest.v1.document.delete`."""

    async def answer(request: DeleteDocument, cause: Cause) -> DocumentRemoved:
        return await delete_document(request, cause, db)

    return answer

"""Somebody stops the work on a document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import CancelDocument, Document
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.cancel_document import cancel_document


def request_document_cancel(db: Database) -> Callable[[CancelDocument, Cause], Awaitable[Document]]:
    """The answerer of `rpc.ingest.v1.document.cancel`."""

    async def answer(request: CancelDocument, cause: Cause) -> Document:
        return await cancel_document(request, cause, db)

    return answer

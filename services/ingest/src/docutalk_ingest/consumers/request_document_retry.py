"""Somebody wants a document to be tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import Document, RetryDocument
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.retry_document import retry_document


def request_document_retry(db: Database) -> Callable[[RetryDocument, Cause], Awaitable[Document]]:
    """The answerer of `rpc.ingest.v1.document.retry`."""

    async def answer(request: RetryDocument, cause: Cause) -> Document:
        return await retry_document(request, cause, db)

    return answer

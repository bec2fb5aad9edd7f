"""How is one document?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import Document, GetDocument
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.get_document import get_document


def request_document_get(db: Database, slots: int) -> Callable[[GetDocument, Cause], Awaitable[Document]]:
    """The answerer of `rpc.ingest.v1.document.get`."""

    async def answer(request: GetDocument, _cause: Cause) -> Document:
        return await get_document(request, db, slots=slots)

    return answer

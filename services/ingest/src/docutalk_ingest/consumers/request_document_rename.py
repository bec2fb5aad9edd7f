"""Somebody gives a document another name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import Document, RenameDocument
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.rename_document import rename_document


def request_document_rename(db: Database) -> Callable[[RenameDocument, Cause], Awaitable[Document]]:
    """The answerer of `rpc.ingest.v1.document.rename`."""

    async def answer(request: RenameDocument, cause: Cause) -> Document:
        return await rename_document(request, cause, db)

    return answer

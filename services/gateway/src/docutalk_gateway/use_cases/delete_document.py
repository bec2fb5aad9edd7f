"""A document goes, and its bytes may come again."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from docutalk_common.contracts.ingest import DeleteDocument, DocumentRemoved
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.domain import DocumentNotReadyToDelete

REGISTERS_WITHIN_SECONDS = 2.0


async def delete_document(
    db: Database, requests: RequestClient, cause: Cause, *, workspace_id: UUID, document_id: UUID, user_id: UUID
) -> None:
    """Asks ingest, which owns the document, then frees the hash. Raises `NotFound`, `DocumentNotReadyToDelete` for an upload
    that ingest does not register in time, `RequestFailed` while ingest is down."""
    question = DeleteDocument(workspace_id=workspace_id, document_id=document_id, deleted_by=user_id)
    deadline = time.monotonic() + REGISTERS_WITHIN_SECONDS
    while True:
        try:
            await requests.ask("rpc.ingest.v1.document.delete", question, DocumentRemoved, cause=cause)
            break
        except NotFound:
            async with db.read() as session:
                upload = await repository.upload_of(session, workspace_id, document_id)
            if upload is None or upload.seen_at is not None:
                raise NotFound("There is no such document.") from None
        # Accepted and on its way to ingest: moments, as a rule.
        if time.monotonic() > deadline:
            raise DocumentNotReadyToDelete
        await asyncio.sleep(0.1)
    async with db.transaction(cause) as tx:
        await repository.delete_upload(tx.session, workspace_id, document_id)

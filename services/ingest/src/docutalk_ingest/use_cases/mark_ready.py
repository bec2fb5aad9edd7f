"""Embed has stored every chunk: the document is ready."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.embed import DocumentIndexed
from docutalk_common.contracts.ingest import DocumentReady
from docutalk_common.db import Transaction
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.adapters.document_repository import DocumentRepository


async def mark_ready(indexed: DocumentIndexed, delivery: Delivery) -> None:
    """Emits `DocumentReady` once. Other versions and deleted documents are left alone."""
    async with delivery.transaction() as transaction:
        await tell_ready(transaction, indexed.document_id, indexed.version, indexed.chunk_count)


async def tell_ready(transaction: Transaction, document_id: UUID, version: int, chunk_count: int) -> None:
    """Marks the version ready and serves it from now on, unless it has come to another end."""
    document = await DocumentRepository(transaction.session).mark_ready(document_id, version, chunk_count)
    if document is not None:
        transaction.emit(
            DocumentReady(
                workspace_id=document.workspace_id,
                document_id=document.document_id,
                version=document.version,
                page_count=document.page_count or 0,
                chunk_count=document.chunk_count or 0,
            )
        )

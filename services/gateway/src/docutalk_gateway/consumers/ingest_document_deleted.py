"""`ingest.document.deleted`: the workspace may have these bytes again."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_gateway.use_cases.forget_upload import forget_upload


async def on_document_deleted(event: DocumentDeleted, delivery: Delivery) -> None:
    """Frees the hash."""
    await forget_upload(delivery, workspace_id=event.workspace_id, document_id=event.document_id)


def subscribe(broker: MessageBroker) -> None:
    """Registers the consumer."""
    broker.consume("gateway-document-deleted", on_document_deleted)

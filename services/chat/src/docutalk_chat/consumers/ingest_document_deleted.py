"""`ingest.document.deleted`: a document that may have been cited is gone."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.use_cases.mark_source_deleted import mark_source_deleted


def register(broker: MessageBroker) -> None:
    """Durable `chat-document-deleted`."""

    async def handle(event: DocumentDeleted, delivery: Delivery) -> None:
        await mark_source_deleted(event, delivery)

    broker.consume("chat-document-deleted", handle)

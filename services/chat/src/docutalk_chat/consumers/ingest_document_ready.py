"""`ingest.document.ready`: a document that may have been cited has another text."""

from __future__ import annotations

from docutalk_common.contracts.ingest import DocumentReady
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.use_cases.mark_source_changed import mark_source_changed


def register(broker: MessageBroker) -> None:
    """Durable `chat-document-ready`."""

    async def handle(event: DocumentReady, delivery: Delivery) -> None:
        await mark_source_changed(event, delivery)

    broker.consume("chat-document-ready", handle)

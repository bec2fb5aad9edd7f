"""The gateway has accepted a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.domain import Window
from docutalk_ingest.use_cases.register_document import register_document


def gateway_document_uploaded(window: Window, keep_versions: int) -> Callable[[DocumentUploaded, Delivery], Awaitable[None]]:
    """The handler of `ingest-document-uploaded`."""

    async def handle(upload: DocumentUploaded, delivery: Delivery) -> None:
        await register_document(upload, delivery, window, keep_versions=keep_versions)

    return handle

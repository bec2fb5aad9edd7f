"""The gateway has accepted a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.register_uploads import UploadRegistrar


def gateway_document_uploaded(registrar: UploadRegistrar) -> Callable[[DocumentUploaded, Delivery], Awaitable[None]]:
    """The handler of `ingest-document-uploaded`."""

    async def handle(upload: DocumentUploaded, delivery: Delivery) -> None:
        await registrar(upload, delivery)

    return handle

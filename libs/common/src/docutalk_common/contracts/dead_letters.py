"""What lies in the DEAD_LETTERS stream: a message that a consumer gave up on, with why."""

from __future__ import annotations

import base64
from datetime import datetime
from uuid import UUID

from docutalk_common.contracts.envelope import Contract


class DeadLetter(Contract):
    """`payload` is the message's bytes in base64, kept whole so that it can be redriven. `document_id` is set when the
    message was about a document: ingest then marks that document `failed`."""

    service: str
    durable: str
    stream: str
    subject: str
    message_id: str | None
    workspace_id: UUID | None
    document_id: UUID | None
    version: int | None = None
    code: str
    reason: str
    attempts: int
    failed_at: datetime
    payload: str
    headers: dict[str, str] = {}

    def body(self) -> bytes:
        """The original message's bytes."""
        return base64.b64decode(self.payload)

"""A message about a document was given up on: the document will not become ready, and its owner is told why."""

from __future__ import annotations

import contextlib
from uuid import UUID

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import Document, DocumentFailed, DocumentStatus
from docutalk_common.messaging.consumer import Delivery
from pydantic import ValidationError

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.tombstones import WorkspaceErased
from docutalk_ingest.adapters.version_repository import VersionRepository
from docutalk_ingest.domain import freeze

# Only what a document cannot become ready without; a lost count or a clean-up does not make it worse for the reader.
_NEEDED = frozenset(
    {
        "ingest-document-uploaded",
        "ingest-document-extract",
        "embed-chunks-index",
        "embed-chunks-express",
        "ingest-document-indexed",
    }
)


async def fail_document(letter: DeadLetter, delivery: Delivery) -> None:
    """Emits `DocumentFailed` once. Documents that came to another end, and messages that do not matter, are left alone."""
    if letter.document_id is None or letter.durable not in _NEEDED:
        return
    with contextlib.suppress(WorkspaceErased):
        await _fail_document(letter, letter.document_id, delivery)


async def _fail_document(letter: DeadLetter, document_id: UUID, delivery: Delivery) -> None:
    async with delivery.transaction() as transaction:
        reason = f"Processing was given up: {freeze(letter.reason)}"
        attempt = _attempt(letter)
        document = await DocumentRepository(transaction.session).mark_failed(
            document_id, letter.version or 1, letter.code, reason, attempt=attempt
        )
        if document is None and letter.durable == "ingest-document-uploaded":
            document = await _register_failed(VersionRepository(transaction.session), letter, reason)
        if document is not None:
            transaction.emit(
                DocumentFailed(
                    workspace_id=document.workspace_id,
                    document_id=document.document_id,
                    version=document.version,
                    code=letter.code,
                    reason=reason,
                )
            )


def _attempt(letter: DeadLetter) -> int | None:
    """Which attempt the message belongs to, if it says: that an earlier one was given up on does not end this one."""
    with contextlib.suppress(ValidationError):
        attempt = Envelope.model_validate_json(letter.body()).data.get("attempt")
        return attempt if isinstance(attempt, int) else None
    return None


async def _register_failed(repository: VersionRepository, letter: DeadLetter, reason: str) -> Document | None:
    """An upload that could not be registered would wait for ever: it is registered as failed, if it can be read at all."""
    with contextlib.suppress(ValidationError):
        envelope = Envelope.model_validate_json(letter.body())
        upload = DocumentUploaded.model_validate(envelope.data)
        return await repository.register(
            upload, uploaded_at=envelope.time, status=DocumentStatus.FAILED, code=letter.code, reason=reason
        )
    return None

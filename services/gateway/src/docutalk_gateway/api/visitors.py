"""What somebody who opened a share link is not told: of what is not shared, of who works here, and of what it costs."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from docutalk_gateway.api.chat_shapes import ChatAnswer, ChatMessage, Citation
from docutalk_gateway.api.shapes import Document, Version
from docutalk_gateway.domain import ShareTarget
from docutalk_gateway.use_cases.identify_caller import Grant
from docutalk_gateway.use_cases.read_documents import Wanted

NOBODY = UUID(int=0)
"""In the place of an id that is not told, where the shape has one."""


def wanted_documents(grant: Grant | None, wanted: Wanted) -> Wanted:
    """Which documents of a list, within what is shared."""
    if grant is None or grant.target is ShareTarget.WORKSPACE:
        return wanted
    if grant.target is ShareTarget.DOCUMENT:
        return replace(wanted, document_id=grant.target_id)
    shared = grant.target is ShareTarget.SOURCE and wanted.source_id in {None, grant.target_id}
    return replace(wanted, source_id=grant.target_id if shared else NOBODY)


def told_document(grant: Grant | None, document: Document) -> Document:
    """Without where it came from, and without what else is worked on."""
    if grant is None:
        return document
    source_id = document.source_id if grant.target is ShareTarget.SOURCE else None
    progress = document.progress.model_copy(update={"queue_position": None, "eta_seconds": None})
    return document.model_copy(update={"source_id": source_id, "origin": None, "progress": progress})


def told_version(grant: Grant | None, version: Version) -> Version:
    """Without who uploaded it."""
    return version if grant is None else version.model_copy(update={"created_by": NOBODY})


def told_answer(grant: Grant | None, answer: ChatAnswer) -> ChatAnswer:
    """Without what it cost."""
    return answer if grant is None else answer.model_copy(update={"usage": None})


def told_message(grant: Grant | None, message: ChatMessage) -> ChatMessage:
    """Without what it cost. Of somebody else's conversation also without their ratings, and with quotes that lead nowhere: the
    documents are not shared."""
    if grant is None:
        return message
    if grant.target is not ShareTarget.SESSION:
        return message.model_copy(update={"usage": None})
    citations = [_quote(citation) for citation in message.citations]
    return message.model_copy(update={"usage": None, "citations": citations, "rating": None, "comment": None, "answering": None})


def _quote(citation: Citation) -> Citation:
    return citation.model_copy(update={"document_id": NOBODY})

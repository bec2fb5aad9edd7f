"""What the gateway says: something came in over HTTP."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from docutalk_common.contracts.chat import Turn
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import DocumentEvent, Message, MessageKind


class DocumentUploaded(DocumentEvent):
    """A file lies whole in the object store. Emitted in the transaction that accepted it, so it is never lost."""

    type = "gateway.document.uploaded.v1"
    owner = "gateway"
    object_key: str
    filename: str
    content_type: str
    size: int
    sha256: str
    uploaded_by: UUID
    auto_classify: bool = True


class MessagePosted(Message):
    """A person asked something. The session exists and belongs to `user_id`; `answer_id` names the token frames.

    `system_prompt` is the workspace's own instruction for its answers, as it stood when the message was posted. The same
    `message_id` with another `answer_id` asks for another answer to the same question. A client that keeps its conversation
    itself sends what came before as `turns`, oldest first; None means what the session holds. `temperature` and `max_tokens`
    are for this answer alone.
    """

    type = "gateway.message.posted.v1"
    kind: ClassVar[MessageKind] = "event"
    owner = "gateway"
    message_id: UUID
    answer_id: UUID
    session_id: UUID
    user_id: UUID
    text: str
    selected_text: str | None = None
    document_ids: list[UUID] = []
    topic: str | None = None
    system_prompt: str | None = None
    filters: SearchFilters = SearchFilters()
    turns: list[Turn] | None = None
    temperature: float | None = None
    max_tokens: int | None = None

    @property
    def entity_id(self) -> UUID:
        return self.message_id

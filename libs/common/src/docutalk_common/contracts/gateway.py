"""What the gateway says: something came in over HTTP."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from docutalk_common.contracts.chat import Turn
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import Contract, DocumentEvent, Message, MessageKind

NO_WORKSPACE = UUID(int=0)
"""In the place of a workspace, in the address of what concerns all of them."""


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


class WorkspaceDeleted(Message):
    """The workspace is gone from the gateway. Every service erases what it holds of it, keeps late messages about it out, and
    says so with its own `…data.erased` under this `erasure_id`. Its subjects are purged from the log when all have."""

    type = "gateway.workspace.deleted.v1"
    kind: ClassVar[MessageKind] = "event"
    owner = "gateway"
    erasure_id: UUID
    deleted_by: UUID | None = None

    @property
    def entity_id(self) -> UUID:
        return self.workspace_id


class UserDeleted(Message):
    """An account is gone, together with the workspaces that were this person's alone (each with its `WorkspaceDeleted`). What
    is theirs in the workspaces of others is erased (conversations) or loses its author (documents, sources)."""

    type = "gateway.user.deleted.v1"
    kind: ClassVar[MessageKind] = "event"
    owner = "gateway"
    workspace_id: UUID = NO_WORKSPACE
    user_id: UUID
    erasure_id: UUID

    @property
    def entity_id(self) -> UUID:
        return self.user_id


class GetWorkspace(Contract):
    """`rpc.gateway.v1.workspace.get` → `WorkspaceState`; error `not_found`, also for one that was deleted."""

    workspace_id: UUID


class WorkspaceState(Contract):
    """Whether documents may be added, and how many there may be in all, uploaded and collected; None: as many as there are."""

    archived: bool = False
    max_documents: int | None = None
    max_bytes: int | None = None

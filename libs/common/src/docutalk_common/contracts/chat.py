"""What chat says and answers: sessions, answers, token frames."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal
from uuid import UUID

from docutalk_common.contracts.envelope import Contract, DocumentEvent, Message, MessageKind


class AnswerEvent(Message):
    """An event about one answer."""

    kind: ClassVar[MessageKind] = "event"
    owner = "chat"
    answer_id: UUID
    message_id: UUID
    session_id: UUID

    @property
    def entity_id(self) -> UUID:
        return self.answer_id


class AnswerStarted(AnswerEvent):
    """Chat took the message up."""

    type = "chat.answer.started.v1"


class AnswerCompleted(AnswerEvent):
    """The whole answer is stored; emitted in that transaction."""

    type = "chat.answer.completed.v1"
    supported: bool
    citation_count: int


class AnswerFailed(AnswerEvent):
    """There will be no answer. `code` is that of the request errors (`search_unavailable`, `model_unavailable`, …)."""

    type = "chat.answer.failed.v1"
    code: str
    reason: str


class Citation(Contract):
    """`quote` is `page_text[start:end]` of that page, checked against the stored page before it is sent."""

    marker: int
    document_id: UUID
    version: int = 1
    filename: str
    page: int
    start: int
    end: int
    quote: str
    source_deleted_at: datetime | None = None
    """The document was deleted since: the quote stands, its page is gone."""


class DocumentUncited(DocumentEvent):
    """The receipt of chat: so many citations now say that their source was deleted."""

    type = "chat.document.uncited.v1"
    owner = "chat"
    citations: int


class FrameKind(StrEnum):
    """The kinds of token frames, also the names of the SSE events."""

    START = "start"
    DELTA = "delta"
    CITATION = "citation"
    DONE = "done"
    ERROR = "error"


class Frame(Contract):
    """A piece of an answer on `tok.<workspace>.<answer>`. `index` counts from 0 without gaps: the safe key against loss.

    `text` is set in `delta`, `citation` in `citation`, `answer` in `done`, `code` and `reason` in `error`. A `start` with
    an index above 0 means that the answer begins again (chat was restarted in the middle).
    """

    answer_id: UUID
    index: int
    kind: FrameKind
    session_id: UUID | None = None
    text: str | None = None
    citation: Citation | None = None
    answer: Answer | None = None
    code: str | None = None
    reason: str | None = None


class Answer(Contract):
    """A whole answer. `supported` is false when nothing in the documents supports it; the text then says so."""

    answer_id: UUID
    session_id: UUID
    message_id: UUID
    response: str
    supported: bool
    citations: list[Citation]
    created_at: datetime


class OpenSession(Contract):
    """`rpc.chat.v1.session.open` → `SessionOpened`: checks a session or makes one. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID | None = None


class SessionOpened(Contract):
    """The session to post into."""

    session_id: UUID


class GetAnswer(Contract):
    """`rpc.chat.v1.answer.get` → `AnswerState`; what a client reads when the frames have expired."""

    workspace_id: UUID
    user_id: UUID
    answer_id: UUID


class AnswerState(Contract):
    """`answer` when completed, `code` and `reason` when failed, neither while it is being made."""

    answer: Answer | None = None
    code: str | None = None
    reason: str | None = None


class ListSessions(Contract):
    """`rpc.chat.v1.session.list` → `SessionList`, newest first."""

    workspace_id: UUID
    user_id: UUID
    page: int = 1
    per_page: int = 20


class Session(Contract):
    """A conversation."""

    session_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime


class SessionList(Contract):
    """A page of sessions."""

    items: list[Session]
    total: int


class ListMessages(Contract):
    """`rpc.chat.v1.message.list` → `MessageList`, oldest first. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID


class SessionMessage(Contract):
    """One turn: the person's text or an answer with its citations."""

    message_id: UUID
    role: Literal["user", "assistant"]
    text: str
    citations: list[Citation] = []
    created_at: datetime


class MessageList(Contract):
    """The whole history of a session."""

    items: list[SessionMessage]


class DeleteSession(Contract):
    """`rpc.chat.v1.session.delete` → `SessionDeleted`. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID


class SessionDeleted(Contract):
    """The session and its messages are gone."""

    session_id: UUID


Frame.model_rebuild()

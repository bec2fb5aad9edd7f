"""What goes over HTTP about conversations: questions, answers with their citations, sessions, settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from docutalk_common.contracts import chat
from docutalk_common.contracts.embed import SearchFilters as Asked
from pydantic import BaseModel, Field, StringConstraints, model_validator

from docutalk_gateway.api.search_shapes import SearchFilters
from docutalk_gateway.api.shapes import Body, Line, Text

MESSAGE_MAX = 20_000
"""Characters of a message."""


class ChatRequest(Body):
    """A message. Without `session_id` a conversation begins; `document_ids`, `topic` and `filters` narrow what is looked at.

    `selected_text` is what the message is about; where it stands in a document, the answer can cite it.
    """

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MESSAGE_MAX)]
    session_id: UUID | None = None
    selected_text: Text | None = None
    document_ids: Annotated[list[UUID], Field(max_length=1000)] = []
    topic: Annotated[str, Field(max_length=200)] | None = None
    filters: SearchFilters = SearchFilters()

    def asked(self) -> Asked:
        """The filters as embed is asked. Documents that both lists name are meant when both are given."""
        filters = self.filters.asked()
        both = [one for one in self.document_ids if one in set(filters.document_ids)]
        ids = both if self.document_ids and filters.document_ids else [*self.document_ids, *filters.document_ids]
        return filters.model_copy(update={"document_ids": ids})

    @model_validator(mode="after")
    def _some_document(self) -> Self:
        if self.document_ids and self.filters.document_ids and not set(self.document_ids) & set(self.filters.document_ids):
            raise ValueError("document_ids and filters.document_ids have no document in common")
        return self


class Citation(BaseModel):
    """`quote` is `text[start:end]` of that page, checked before it was sent. `marker` is the number in the response.

    `version` is the document's version that was cited. `source_changed_at` is set when a later one became ready since,
    `source_deleted_at` when the document was deleted since: the quote stands, its page is gone.
    """

    marker: int
    document_id: UUID
    version: int
    filename: str
    page: int
    start: int
    end: int
    quote: str
    source_deleted_at: datetime | None = None
    source_changed_at: datetime | None = None

    @classmethod
    def of(cls, citation: chat.Citation) -> Citation:
        """As chat tells it."""
        return cls.model_validate(citation.model_dump())


class Usage(BaseModel):
    """Tokens that an answer took, and what they cost in US dollars where the model's price is known."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class ChatAnswer(BaseModel):
    """`supported` is false when nothing in the documents supports an answer; `response` then says so. `response` is Markdown in
    which HTML means nothing: who shows it escapes it.

    `message_id` is that of the answer, as it stands in the session's messages. `model` wrote it, `extractive` for sentences of
    the documents. `markers_removed` counts citations of the model that no source supports. `stopped`: ended early by a person;
    `truncated`: by the longest answer that the model or this service may write.
    """

    response: str
    session_id: UUID
    message_id: UUID
    timestamp: datetime
    supported: bool
    citations: list[Citation]
    model: str
    usage: Usage | None
    markers_removed: int
    stopped: bool
    truncated: bool

    @classmethod
    def of(cls, answer: chat.Answer) -> ChatAnswer:
        """As chat tells it."""
        return cls(
            response=answer.response,
            session_id=answer.session_id,
            message_id=answer.answer_id,
            timestamp=answer.created_at,
            supported=answer.supported,
            citations=[Citation.of(citation) for citation in answer.citations],
            model=answer.model,
            usage=None if answer.usage is None else Usage.model_validate(answer.usage.model_dump()),
            markers_removed=answer.markers_removed,
            stopped=answer.stopped,
            truncated=answer.truncated,
        )


class SessionHit(BaseModel):
    """The last message that holds the words of a search, and a piece of its text."""

    message_id: UUID
    role: Literal["user", "assistant"]
    snippet: str


class ChatSession(BaseModel):
    """A conversation. `hit` comes with a search, unless only the title holds its words."""

    id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    hit: SessionHit | None = None

    @classmethod
    def of(cls, session: chat.Session) -> ChatSession:
        """As chat tells it."""
        hit = None if session.hit is None else SessionHit.model_validate(session.hit.model_dump())
        return cls(
            id=session.session_id, title=session.title, created_at=session.created_at, updated_at=session.updated_at, hit=hit
        )


class ChatSessionChanges(Body):
    """A new title."""

    title: Line


class ChatMessage(BaseModel):
    """One turn of a conversation.

    Of a question: `answering` names an answer that is being made (its stream can be followed), `code` and `reason` say why the
    last one failed. Of an answer: `reply_to` is its question; of several to one question the newest is `chosen`, which what
    follows goes on from. The rest of an answer is as when it was made, with the person's own `rating` (1 or -1) and `comment`.
    """

    id: UUID
    role: Literal["user", "assistant"]
    text: str
    citations: list[Citation]
    created_at: datetime
    selected_text: str | None = None
    answering: UUID | None = None
    code: str | None = None
    reason: str | None = None
    reply_to: UUID | None = None
    chosen: bool = True
    supported: bool | None = None
    stopped: bool = False
    truncated: bool = False
    model: str | None = None
    usage: Usage | None = None
    markers_removed: int = 0
    rating: int | None = None
    comment: str | None = None

    @classmethod
    def of(cls, message: chat.SessionMessage) -> ChatMessage:
        """As chat tells it."""
        return cls.model_validate({**message.model_dump(exclude={"message_id"}), "id": message.message_id})


class ChatMessages(BaseModel):
    """A whole conversation, oldest first, each question followed by its answers."""

    items: list[ChatMessage]
    total: int
    page: int = 1
    per_page: int


class SessionExport(BaseModel):
    """A conversation to keep elsewhere. `format` names this shape."""

    format: Literal["docutalk.chat-session.v1"] = "docutalk.chat-session.v1"
    session: ChatSession
    messages: list[ChatMessage]


class Feedback(Body):
    """1 for a good answer, -1 for a bad one, null to take it back; and why."""

    rating: Literal[1, -1] | None
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)] | None = None


class FeedbackGiven(BaseModel):
    """As it is stored."""

    message_id: UUID
    rating: int | None
    comment: str | None


class ChatSettings(BaseModel):
    """How this workspace's questions are answered; null: as the installation does it. The system prompt is the workspace's own
    (`PATCH /workspaces/{workspace_id}`).

    `model` is one of `/chat/models`; `passages` is how many an answer is made from.
    """

    model: str | None
    temperature: float | None
    passages: int | None

    @classmethod
    def of(cls, settings: chat.ChatSettings) -> ChatSettings:
        """As chat tells it."""
        return cls.model_validate(settings.model_dump())


class ChatSettingsChanges(Body):
    """What is given changes; null takes the installation's own again."""

    model: Line | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    passages: Annotated[int, Field(ge=1, le=50)] | None = None


class ChatModels(BaseModel):
    """The models that can answer here. `default` answers when a workspace chose none; `extractive` needs no provider.

    `complete` is false while the provider does not tell its models.
    """

    provider: str
    default: str
    items: list[str]
    complete: bool

    @classmethod
    def of(cls, found: chat.ChatModels) -> ChatModels:
        """As chat tells it."""
        return cls.model_validate(found.model_dump())

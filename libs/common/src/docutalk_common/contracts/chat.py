"""What chat says and answers: sessions, answers, token frames."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import Contract, DocumentEvent, ErasureReceipt, Message, MessageKind


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
    source_changed_at: datetime | None = None
    """A later version of the document became ready since: the quote is of `version`, the document may say something else."""


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


class Usage(Contract):
    """What an answer took of a language model, all its calls together. `cost_usd` is None for a model without a known price."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None


class Answer(Contract):
    """A whole answer. `supported` is false when nothing in the documents supports it; the text then says so.

    `model` is the one that wrote it, `extractive` for sentences of the documents; `usage` is None where no model told it.
    `markers_removed` counts the citations that the model gave and that no source supports. `stopped`: a person ended it early.
    `truncated`: the model, or this service, ended it because it may not be longer.
    """

    answer_id: UUID
    session_id: UUID
    message_id: UUID
    response: str
    supported: bool
    citations: list[Citation]
    created_at: datetime
    model: str = ""
    usage: Usage | None = None
    markers_removed: int = 0
    stopped: bool = False
    truncated: bool = False


class Turn(Contract):
    """One message of a conversation that its client keeps itself."""

    role: Literal["user", "assistant"]
    text: str


class OpenSession(Contract):
    """`rpc.chat.v1.session.open` → `SessionOpened`: checks a session or makes one. Error `not_found`.

    A `transient` session belongs to a client that keeps its conversation itself: it is not listed, and forgotten after a day.
    """

    workspace_id: UUID
    user_id: UUID
    session_id: UUID | None = None
    transient: bool = False


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
    """`rpc.chat.v1.session.list` → `SessionList`, last used first.

    With `q` those only whose title or messages hold its words (as web searches read them: "a phrase", -without, or)."""

    workspace_id: UUID
    user_id: UUID
    page: int = 1
    per_page: int = 20
    q: str | None = None


class SessionHit(Contract):
    """Where the words of a search stand in a session: the last message that holds them, and a piece of its text."""

    message_id: UUID
    role: Literal["user", "assistant"]
    snippet: str


class Session(Contract):
    """A conversation. `hit` comes with a search, unless only the title holds its words."""

    session_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    hit: SessionHit | None = None


class GetSession(Contract):
    """`rpc.chat.v1.session.get` → `Session`. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID


class RenameSession(Contract):
    """`rpc.chat.v1.session.rename` → `Session`. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID
    title: str


class SessionList(Contract):
    """A page of sessions."""

    items: list[Session]
    total: int


class ListMessages(Contract):
    """`rpc.chat.v1.message.list` → `MessageList`, oldest first, each question followed by its answers. Error `not_found`.

    `limit` messages after the first `offset` of them; None for all."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID
    offset: int = 0
    limit: int | None = None


class SessionMessage(Contract):
    """One turn: the person's text, or an answer with its citations.

    Of a question: `answering` names an answer that is being made, `code` and `reason` say why the last one failed. Of an answer:
    `reply_to` is its question; of several to one question only the newest is `chosen`, as the context of what follows. `rating`
    is 1, -1, or None; the rest is as in `Answer`.
    """

    message_id: UUID
    role: Literal["user", "assistant"]
    text: str
    citations: list[Citation] = []
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


class MessageList(Contract):
    """A part of the history of a session; `total` messages are in it."""

    items: list[SessionMessage]
    total: int = 0


class GetQuestion(Contract):
    """`rpc.chat.v1.question.get` → `Question`; `message_id` is a question's or that of one of its answers. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID
    message_id: UUID


class Question(Contract):
    """What was asked, and of which documents, so that it can be answered again."""

    message_id: UUID
    text: str
    selected_text: str | None = None
    document_ids: list[UUID] = []
    filters: SearchFilters = SearchFilters()


class StopAnswer(Contract):
    """`rpc.chat.v1.answer.stop` → `AnswerState`: ends an answer where it is, also one that nobody has begun yet.

    What was written so far is stored as the answer; it may take a second until it is. An answer that has come to its end stays
    as it is. Error `not_found` for a session that is not this user's, or that the answer is not of.
    """

    workspace_id: UUID
    user_id: UUID
    session_id: UUID
    answer_id: UUID


class RateAnswer(Contract):
    """`rpc.chat.v1.answer.rate` → `AnswerRated`. `rating` 1 or -1; None takes it back. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID
    answer_id: UUID
    rating: int | None
    comment: str | None = None


class AnswerRated(Contract):
    """The rating as it is stored."""

    answer_id: UUID
    rating: int | None
    comment: str | None


class GetChatSettings(Contract):
    """`rpc.chat.v1.settings.get` → `ChatSettings`."""

    workspace_id: UUID


class ChangeChatSettings(Contract):
    """`rpc.chat.v1.settings.change` → `ChatSettings`: sets the fields that `changes` names; None takes the default again.

    Error `invalid`, for a model that is not among those of `model.list`, too."""

    workspace_id: UUID
    changes: list[str]
    model: str | None = None
    temperature: float | None = None
    passages: int | None = None


class ChatSettings(Contract):
    """How a workspace's questions are answered. None: as the installation does it.

    `model`: a name at the provider, or `extractive` for sentences of the documents; `passages`: how many an answer is made from,
    1 to 50.
    """

    model: str | None = None
    temperature: float | None = None
    passages: int | None = None


class ListChatModels(Contract):
    """`rpc.chat.v1.model.list` → `ChatModels`."""

    workspace_id: UUID


class ChatModels(Contract):
    """Which models can answer. `provider` is `openai`, `anthropic`, `ollama` or `none`; `items` always ends with `extractive`.

    `complete` is false when the provider does not tell its models right now."""

    provider: str
    default: str
    items: list[str]
    complete: bool = True


class DeleteSession(Contract):
    """`rpc.chat.v1.session.delete` → `SessionDeleted`. Error `not_found`."""

    workspace_id: UUID
    user_id: UUID
    session_id: UUID


class SessionDeleted(Contract):
    """The session and its messages are gone."""

    session_id: UUID


Frame.model_rebuild()


class DataErased(ErasureReceipt):
    """The receipt of chat for a deleted workspace or user."""

    type = "chat.data.erased.v1"
    owner = "chat"


class KnownSessions(Contract):
    """`rpc.chat.v1.session.known` → `SessionsKnown`: which of these ids has a session or a message, of anybody? At most 1,000."""

    ids: list[UUID]


class SessionsKnown(Contract):
    """Those of the ids that cannot be given to something else."""

    ids: list[UUID]


class ExportedSession(Contract):
    """A conversation, as it is carried from one installation to another."""

    session_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime


class ExportedMessage(Contract):
    """A question, or a complete answer with its citations. `filters` are those that a question was asked with."""

    session_id: UUID
    message_id: UUID
    role: Literal["user", "assistant"]
    text: str
    selected_text: str | None = None
    filters: SearchFilters | None = None
    reply_to: UUID | None = None
    citations: list[Citation] = []
    supported: bool | None = None
    stopped: bool = False
    truncated: bool = False
    model: str | None = None
    usage: Usage | None = None
    markers_removed: int = 0
    rating: int | None = None
    comment: str | None = None
    created_at: datetime


class ExportSessions(Contract):
    """`rpc.chat.v1.session.export` → `ExportedSessions`: this person's conversations there, by id, each followed by its messages
    in order; a page that fits into a message. `after` is the `next` of the page before. Transient sessions are left out."""

    workspace_id: UUID
    user_id: UUID
    after: str | None = None


class ExportedSessions(Contract):
    """A page; the session of a message is on it or on one before. `next` is None on the last page."""

    sessions: list[ExportedSession] = []
    messages: list[ExportedMessage] = []
    next: str | None = None


class ImportSessions(Contract):
    """`rpc.chat.v1.session.import` → `SessionsImported`: they belong to this person from now on.

    All or nothing; what was imported before is left as it is, so that asking again does no harm. A page's messages belong to
    sessions on it or imported before. Errors `invalid`, `conflict` (an id belongs to somebody else).
    """

    workspace_id: UUID
    user_id: UUID
    sessions: list[ExportedSession] = []
    messages: list[ExportedMessage] = []


class SessionsImported(Contract):
    """How many are there now of those that were sent."""

    sessions: int
    messages: int

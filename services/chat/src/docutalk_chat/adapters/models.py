"""Tables of the schema `chat`. The migrations make them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    # Empty until somebody writes; for ever in a conversation that its client keeps itself. Such a session is not listed.
    Column("title", Text, nullable=False, server_default=""),
    Column("transient", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("sessions_of_user", "workspace_id", "user_id", "updated_at"),
    Index("sessions_to_forget", "created_at", postgresql_where=text("title = ''")),
)

messages = Table(
    "messages",
    metadata,
    # An answer's text is a message under the answer's id.
    Column("message_id", Uuid, primary_key=True),
    Column("session_id", ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False),
    # Identity, not time: two messages of one session may come within a microsecond.
    Column("position", BigInteger, Identity(), nullable=False),
    Column("role", Text, CheckConstraint("role IN ('user', 'assistant')", name="messages_role"), nullable=False),
    Column("text", Text, nullable=False),
    Column("selected_text", Text),
    # Of an answer: its question. Several answers may reply to one.
    Column("reply_to", ForeignKey("messages.message_id", ondelete="CASCADE")),
    # Of a question: the filters it was asked with, so that it can be answered again.
    Column("scope", JSONB(none_as_null=True)),
    # Found as written, and in English by stem, too.
    Column("words", TSVECTOR, Computed("to_tsvector('simple', text) || to_tsvector('english', text)", persisted=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("messages_of_session", "session_id", "position"),
    Index("messages_reply_to", "reply_to"),
    Index("messages_words", "words", postgresql_using="gin"),
)

answers = Table(
    "answers",
    metadata,
    Column("answer_id", Uuid, primary_key=True),
    Column("message_id", ForeignKey("messages.message_id", ondelete="CASCADE"), nullable=False),
    Column("session_id", ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False),
    Column(
        "status",
        Text,
        CheckConstraint("status IN ('answering', 'completed', 'failed')", name="answers_status"),
        nullable=False,
        server_default="answering",
    ),
    Column("supported", Boolean),
    Column("code", Text),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("finished_at", DateTime(timezone=True)),
    Column("model", Text),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("cost_usd", Numeric),
    Column("markers_removed", Integer, nullable=False, server_default="0"),
    Column("stopped", Boolean, nullable=False, server_default=text("false")),
    Column("truncated", Boolean, nullable=False, server_default=text("false")),
    Column("rating", SmallInteger, CheckConstraint("rating IN (1, -1)", name="answers_rating")),
    Column("comment", Text),
    Index("answers_of_message", "message_id"),
    Index("answers_of_session", "session_id"),
)

citations = Table(
    "citations",
    metadata,
    Column("answer_id", ForeignKey("answers.answer_id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("marker", Integer, nullable=False),
    Column("document_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("filename", Text, nullable=False),
    Column("page", Integer, nullable=False),
    Column("start_offset", Integer, nullable=False),
    Column("end_offset", Integer, nullable=False),
    Column("quote", Text, nullable=False),
    Column("source_deleted_at", DateTime(timezone=True)),
    Column("source_changed_at", DateTime(timezone=True)),
    Index("citations_of_document", "document_id"),
)

# Documents that changed or went: an answer that was being made meanwhile cites what it found before.
documents = Table(
    "documents",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    # Unset where it was not cited before this was kept.
    Column("workspace_id", Uuid),
    # The latest version that is known to be ready, when it is not the first.
    Column("version", Integer),
    Column("ready_at", DateTime(timezone=True)),
    Column("deleted_at", DateTime(timezone=True)),
    Index("documents_of_workspace", "workspace_id"),
)

# Answers that somebody does not want to go on, also such as nobody has begun yet.
stops = Table(
    "stops",
    metadata,
    Column("answer_id", Uuid, primary_key=True),
    Column("session_id", ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("stops_session_id", "session_id"),
)

# How a workspace's questions are answered; NULL as the installation does it.
settings = Table(
    "settings",
    metadata,
    Column("workspace_id", Uuid, primary_key=True),
    Column("model", Text),
    Column("temperature", Double),
    Column("passages", Integer),
)

# Workspaces and people that were erased, from the moment at which erasing begins: nothing of them is stored any more.
erased = Table(
    "erased",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("erased_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    # How much of each kind is gone so far; unset once the receipt has told it.
    Column("removed", JSONB(none_as_null=True)),
)

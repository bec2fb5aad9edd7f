"""Tables of the schema `chat`. The migrations make them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
)

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("sessions_of_user", "workspace_id", "user_id", "updated_at"),
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
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("messages_of_session", "session_id", "position"),
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
    Index("citations_of_document", "document_id"),
)

# Documents that are gone: an answer that was being made while one was deleted cites it afterwards.
deleted_documents = Table(
    "deleted_documents",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("deleted_at", DateTime(timezone=True), nullable=False),
)

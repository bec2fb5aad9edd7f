"""Answers that are made again, stopped, rated and counted; conversations that are searched; settings of a workspace; sources
that change.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0003"
down_revision = "0002"

_WORDS = "to_tsvector('simple'::regconfig, text) || to_tsvector('english'::regconfig, text)"


def upgrade() -> None:
    """Answers that are there reply to their question."""
    op.add_column("sessions", sa.Column("transient", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("sessions_to_forget", "sessions", ["created_at"], postgresql_where=sa.text("title = ''"))
    op.add_column("messages", sa.Column("reply_to", sa.Uuid, sa.ForeignKey("messages.message_id", ondelete="CASCADE")))
    op.add_column("messages", sa.Column("scope", JSONB))
    op.add_column("messages", sa.Column("words", TSVECTOR, sa.Computed(_WORDS, persisted=True)))
    op.execute("UPDATE messages SET reply_to = answers.message_id FROM answers WHERE answers.answer_id = messages.message_id")
    op.create_index("messages_reply_to", "messages", ["reply_to"])
    op.create_index("messages_words", "messages", ["words"], postgresql_using="gin")
    op.add_column("answers", sa.Column("model", sa.Text))
    op.add_column("answers", sa.Column("input_tokens", sa.Integer))
    op.add_column("answers", sa.Column("output_tokens", sa.Integer))
    op.add_column("answers", sa.Column("cost_usd", sa.Numeric))
    op.add_column("answers", sa.Column("markers_removed", sa.Integer, nullable=False, server_default="0"))
    op.add_column("answers", sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("answers", sa.Column("truncated", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("answers", sa.Column("rating", sa.SmallInteger))
    op.add_column("answers", sa.Column("comment", sa.Text))
    op.create_check_constraint("answers_rating", "answers", "rating IN (1, -1)")
    op.create_table(
        "stops",
        sa.Column("answer_id", sa.Uuid, primary_key=True),
        sa.Column("session_id", sa.Uuid, sa.ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("stops_session_id", "stops", ["session_id"])
    op.create_table(
        "settings",
        sa.Column("workspace_id", sa.Uuid, primary_key=True),
        sa.Column("model", sa.Text),
        sa.Column("temperature", sa.Double),
        sa.Column("passages", sa.Integer),
    )
    op.rename_table("deleted_documents", "documents")
    op.alter_column("documents", "deleted_at", nullable=True)
    op.add_column("documents", sa.Column("version", sa.Integer))
    op.add_column("documents", sa.Column("ready_at", sa.DateTime(timezone=True)))
    op.add_column("citations", sa.Column("source_changed_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Of several answers to a question all stay, as messages of the session."""
    op.drop_column("citations", "source_changed_at")
    op.drop_column("documents", "ready_at")
    op.drop_column("documents", "version")
    op.execute("DELETE FROM documents WHERE deleted_at IS NULL")
    op.alter_column("documents", "deleted_at", nullable=False)
    op.rename_table("documents", "deleted_documents")
    op.drop_table("settings")
    op.drop_table("stops")
    op.drop_constraint("answers_rating", "answers")
    told = ("model", "input_tokens", "output_tokens", "cost_usd", "markers_removed", "stopped", "truncated")
    for column in (*told, "rating", "comment"):
        op.drop_column("answers", column)
    op.drop_index("messages_words", "messages")
    op.drop_index("messages_reply_to", "messages")
    for column in ("words", "scope", "reply_to"):
        op.drop_column("messages", column)
    op.drop_index("sessions_to_forget", "sessions")
    op.drop_column("sessions", "transient")

"""Users, sessions, workspaces, uploads, idempotency, messaging.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from docutalk_common.migrations import create_messaging_tables, drop_messaging_tables
from sqlalchemy.dialects.postgresql import CITEXT, JSONB

revision = "0001"
down_revision = None


def _time(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=sa.func.now() if now else None)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("system_prompt", sa.Text),
        _time("created_at", now=True),
        _time("updated_at", now=True),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("email", CITEXT, nullable=False, unique=True),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text),
        sa.Column("is_admin", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("default_workspace_id", sa.Uuid, sa.ForeignKey("workspaces.id"), nullable=False),
        _time("created_at", now=True),
    )
    op.create_table(
        "members",
        sa.Column("workspace_id", sa.Uuid, sa.ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        _time("created_at", now=True),
        sa.CheckConstraint("role IN ('owner', 'editor', 'viewer')", name="members_role"),
    )
    op.create_index("members_user_id", "members", ["user_id"])
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("family_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("user_agent", sa.Text),
        sa.Column("address", sa.Text),
        _time("created_at", now=True),
        _time("expires_at"),
        _time("used_at", nullable=True),
        _time("revoked_at", nullable=True),
    )
    op.create_index("refresh_tokens_family_id", "refresh_tokens", ["family_id"])
    op.create_index("refresh_tokens_user_id", "refresh_tokens", ["user_id"])
    op.create_index("refresh_tokens_expires_at", "refresh_tokens", ["expires_at"])
    op.create_table(
        "uploads",
        sa.Column("document_id", sa.Uuid, primary_key=True),
        sa.Column("workspace_id", sa.Uuid, sa.ForeignKey("workspaces.id"), nullable=False),
        sa.Column("uploaded_by", sa.Uuid, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("object_key", sa.Text, nullable=False),
        _time("created_at", now=True),
        _time("seen_at", nullable=True),
        sa.UniqueConstraint("workspace_id", "sha256", name="uploads_workspace_id_sha256"),
    )
    # Few uploads are unseen at any time: the index stays small whatever the number of documents.
    op.create_index("uploads_unseen", "uploads", ["workspace_id", "document_id"], postgresql_where=sa.text("seen_at IS NULL"))
    op.create_table(
        "posted_messages",
        sa.Column("answer_id", sa.Uuid, primary_key=True),
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("workspace_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        _time("created_at", now=True),
        sa.UniqueConstraint("user_id", "workspace_id", "idempotency_key", name="posted_messages_key"),
    )
    op.create_index("posted_messages_created_at", "posted_messages", ["created_at"])
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid, primary_key=True),
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary),
        sa.Column("status", sa.Integer),
        sa.Column("headers", JSONB),
        sa.Column("body", sa.LargeBinary),
        _time("claimed_at", now=True),
        _time("expires_at"),
    )
    op.create_index("idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    create_messaging_tables()


def downgrade() -> None:
    """Drops them."""
    drop_messaging_tables()
    for table in ("idempotency_keys", "posted_messages", "uploads", "refresh_tokens", "members", "users", "workspaces"):
        op.drop_table(table)

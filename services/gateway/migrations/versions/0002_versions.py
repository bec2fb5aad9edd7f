"""Versions of a document's file: the newest is current, and only current bytes are looked at for duplicates.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """What was uploaded so far is the first version of its document, and current."""
    op.add_column("uploads", sa.Column("version", sa.Integer, nullable=False, server_default="1"))
    op.add_column("uploads", sa.Column("superseded_at", sa.DateTime(timezone=True)))
    op.drop_constraint("uploads_pkey", "uploads", type_="primary")
    op.create_primary_key("uploads_pkey", "uploads", ["document_id", "version"])
    op.drop_constraint("uploads_workspace_id_sha256", "uploads", type_="unique")
    current = sa.text("superseded_at IS NULL")
    op.create_index("uploads_current_sha256", "uploads", ["workspace_id", "sha256"], unique=True, postgresql_where=current)
    op.create_index("uploads_current_document", "uploads", ["document_id"], unique=True, postgresql_where=current)
    op.create_index("uploads_superseded", "uploads", ["superseded_at"], postgresql_where=sa.text("superseded_at IS NOT NULL"))
    # For the sweep of objects, which asks which keys are known.
    op.create_index("uploads_object_key", "uploads", ["object_key"])


def downgrade() -> None:
    """Only current versions stay."""
    op.execute("DELETE FROM uploads WHERE superseded_at IS NOT NULL")
    for name in ("uploads_object_key", "uploads_superseded", "uploads_current_document", "uploads_current_sha256"):
        op.drop_index(name, "uploads")
    op.create_unique_constraint("uploads_workspace_id_sha256", "uploads", ["workspace_id", "sha256"])
    op.drop_constraint("uploads_pkey", "uploads", type_="primary")
    op.create_primary_key("uploads_pkey", "uploads", ["document_id"])
    op.drop_column("uploads", "superseded_at")
    op.drop_column("uploads", "version")

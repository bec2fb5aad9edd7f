"""Workspaces and people that were erased, and of which workspace a document is that changed or went.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

_OF_CITATIONS = """
UPDATE documents SET workspace_id = sessions.workspace_id FROM citations
JOIN answers ON answers.answer_id = citations.answer_id JOIN sessions ON sessions.session_id = answers.session_id
WHERE citations.document_id = documents.document_id
"""


def upgrade() -> None:
    """Of the documents that are known, those that were cited get their workspace."""
    op.create_table(
        "erased",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("removed", JSONB),
    )
    op.add_column("documents", sa.Column("workspace_id", sa.Uuid))
    op.execute(_OF_CITATIONS)
    op.create_index("documents_of_workspace", "documents", ["workspace_id"])


def downgrade() -> None:
    """What still comes of somebody who was erased is stored then."""
    op.drop_index("documents_of_workspace", "documents")
    op.drop_column("documents", "workspace_id")
    op.drop_table("erased")

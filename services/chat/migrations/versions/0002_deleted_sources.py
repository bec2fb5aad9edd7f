"""Citations whose document was deleted, and the documents that were.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("citations", sa.Column("source_deleted_at", sa.DateTime(timezone=True)))
    op.create_index("citations_of_document", "citations", ["document_id"])
    op.create_table(
        "deleted_documents",
        sa.Column("document_id", sa.Uuid, primary_key=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("deleted_documents")
    op.drop_index("citations_of_document")
    op.drop_column("citations", "source_deleted_at")

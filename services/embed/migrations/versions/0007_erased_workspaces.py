"""Workspaces that were erased.

Revision ID: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

# A row is there from the moment at which erasing begins, and keeps everything of the workspace out that comes late.
UPGRADE = """
CREATE TABLE erased_workspaces (
  workspace_id uuid PRIMARY KEY,
  erased_at timestamptz NOT NULL DEFAULT now(),
  -- How much of each kind is gone so far; unset once the receipt has told it.
  removed jsonb DEFAULT '{}'
)
"""


def upgrade() -> None:
    """Makes the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drops it. What still comes of an erased workspace is stored then."""
    op.execute("DROP TABLE erased_workspaces")

"""Attempts that were stopped, how a version is cut, and when a document was given its name.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
ALTER TABLE documents
  ADD COLUMN attempt integer NOT NULL DEFAULT 0,
  -- 0: nothing is stored. Unset for a version that was on its way when these columns came: it goes on as it began.
  ADD COLUMN chunk_count integer DEFAULT 0,
  ADD COLUMN batch_count integer DEFAULT 0,
  ADD COLUMN cancelled_version integer NOT NULL DEFAULT 0,
  ADD COLUMN cancelled_attempt integer NOT NULL DEFAULT 0,
  -- The time of the message that gave `filename`: a later name wins, in whatever order the messages come.
  ADD COLUMN named_at timestamptz;

UPDATE documents SET attempt = 1,
  chunk_count = CASE WHEN live_version = version THEN chunks_done END,
  batch_count = CASE WHEN live_version = version THEN batches_done END
WHERE NOT deleted
"""
DOWNGRADE = """
ALTER TABLE documents
  DROP COLUMN attempt,
  DROP COLUMN chunk_count,
  DROP COLUMN batch_count,
  DROP COLUMN cancelled_version,
  DROP COLUMN cancelled_attempt,
  DROP COLUMN named_at
"""


def upgrade() -> None:
    """Adds the columns."""
    for statement in UPGRADE.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    """Removes them."""
    op.execute(DOWNGRADE)

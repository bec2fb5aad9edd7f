"""Words in the language of the document, and what searches filter by.

Revision ID: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
ALTER TABLE documents
  ADD COLUMN source_id uuid,
  ADD COLUMN language text,
  ADD COLUMN title text;
ALTER TABLE workspaces
  -- How much of a score is meaning; unset: the default of the release.
  ADD COLUMN semantic_weight real;
ALTER TABLE chunks
  -- The name of a text search configuration: a column of type regconfig would be in the way of pg_upgrade.
  ADD COLUMN config text NOT NULL DEFAULT 'english',
  -- What stands between the chunk before, on the same page, and this one; unset when it is unknown or long.
  ADD COLUMN gap text
"""
DOWNGRADE = """
ALTER TABLE chunks DROP COLUMN gap, DROP COLUMN config;
ALTER TABLE workspaces DROP COLUMN semantic_weight;
ALTER TABLE documents DROP COLUMN source_id, DROP COLUMN language, DROP COLUMN title
"""


def upgrade() -> None:
    """Adds the columns."""
    for statement in UPGRADE.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    """Removes them."""
    for statement in DOWNGRADE.split(";\n"):
        op.execute(statement)

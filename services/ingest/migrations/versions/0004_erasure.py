"""What is left of workspaces and users that were erased, so that late messages bring nothing of them back.

Revision ID: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
CREATE TABLE erased_workspaces (
  workspace_id uuid PRIMARY KEY,
  -- What was removed so far, by kind.
  removed jsonb NOT NULL DEFAULT '{}',
  -- When nothing was left and the receipt was given; unset while it is being erased.
  erased_at timestamptz
);

-- Made of the user's id, which it does not tell.
CREATE TABLE erased_users (
  user_key uuid PRIMARY KEY,
  erased_at timestamptz
);

-- Finds what is left of a workspace that is being erased.
CREATE INDEX documents_deleted ON documents (workspace_id) WHERE deleted_at IS NOT NULL;
"""

DOWNGRADE = """
DROP INDEX documents_deleted;
DROP TABLE erased_users;
DROP TABLE erased_workspaces;
"""


def upgrade() -> None:
    for statement in UPGRADE.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE.split(";\n"):
        if statement.strip():
            op.execute(statement)

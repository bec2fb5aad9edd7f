"""Sources, their runs, and what was found in them.

Revision ID: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
CREATE TABLE sources (
  source_id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  config jsonb NOT NULL,
  schedule jsonb,
  paused boolean NOT NULL DEFAULT false,
  -- When it is to run next, and the time that the message server's clock was last set to for it.
  next_run_at timestamptz,
  armed_at timestamptz,
  -- What the host of its list said about the list's state at the last run without a failure, and how many items it had.
  etag text,
  last_modified text,
  listed integer NOT NULL DEFAULT 0,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  -- Set while the documents of a deleted source are being deleted; then the row goes.
  deleted_at timestamptz,
  deleted_by uuid
);
CREATE INDEX sources_of_workspace ON sources (workspace_id, created_at DESC, source_id) WHERE deleted_at IS NULL;
CREATE INDEX sources_unarmed ON sources (next_run_at)
  WHERE next_run_at IS NOT NULL AND next_run_at IS DISTINCT FROM armed_at AND deleted_at IS NULL;
CREATE INDEX sources_due ON sources (next_run_at) WHERE next_run_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX sources_deleted ON sources (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE source_runs (
  run_id uuid PRIMARY KEY,
  source_id uuid NOT NULL REFERENCES sources ON DELETE CASCADE,
  workspace_id uuid NOT NULL,
  trigger text NOT NULL,
  status text NOT NULL,
  found integer NOT NULL DEFAULT 0,
  new integer NOT NULL DEFAULT 0,
  changed integer NOT NULL DEFAULT 0,
  unchanged integer NOT NULL DEFAULT 0,
  failed integer NOT NULL DEFAULT 0,
  reason text,
  queued_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz
);
CREATE UNIQUE INDEX source_runs_going_on ON source_runs (source_id) WHERE status IN ('queued', 'running');
CREATE INDEX source_runs_of_source ON source_runs (source_id, queued_at DESC, run_id);

CREATE TABLE source_items (
  source_id uuid NOT NULL REFERENCES sources ON DELETE CASCADE,
  item_key text NOT NULL,
  document_id uuid,
  origin text NOT NULL,
  etag text,
  last_modified text,
  content_hash text,
  last_seen_run uuid NOT NULL,
  -- collected or failed; a failed item may have a document of an earlier run.
  status text NOT NULL,
  reason text,
  PRIMARY KEY (source_id, item_key)
);
"""

DOWNGRADE = """
DROP TABLE source_items;
DROP TABLE source_runs;
DROP TABLE sources;
"""


def upgrade() -> None:
    for statement in UPGRADE.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE.split(";\n"):
        if statement.strip():
            op.execute(statement)

"""Documents with their states and counts, pages of frozen text, messaging.

Revision ID: 0001
"""

from __future__ import annotations

from alembic import op
from docutalk_common.migrations import create_messaging_tables, drop_messaging_tables

revision = "0001"
down_revision = None

TABLES = """
-- A row outlives its document: `deleted_at` makes late events about it harmless.
CREATE TABLE documents (
  document_id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL,
  version integer NOT NULL,
  filename text NOT NULL,
  content_type text NOT NULL,
  size bigint NOT NULL,
  sha256 text NOT NULL,
  object_key text NOT NULL,
  status text NOT NULL,
  code text,
  reason text,
  page_count integer,
  pages_done integer NOT NULL DEFAULT 0,
  chunk_count integer,
  chunks_done integer NOT NULL DEFAULT 0,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  progressed_at timestamptz,
  deleted_at timestamptz
);
CREATE INDEX documents_newest ON documents (workspace_id, created_at DESC, document_id DESC) WHERE deleted_at IS NULL;

-- One row for each page; a format without pages is one page, of up to 20 million characters.
CREATE TABLE pages (
  document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  version integer NOT NULL,
  number integer NOT NULL,
  label text NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (document_id, version, number)
);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    create_messaging_tables()


def downgrade() -> None:
    drop_messaging_tables()
    op.execute("DROP TABLE pages")
    op.execute("DROP TABLE documents")

"""Versions that are kept, attempts, waiting lines for a fair share, units, places on paper.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
ALTER TABLE documents
  ADD COLUMN attempt integer NOT NULL DEFAULT 1,
  ADD COLUMN served_version integer,
  ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN extractor text,
  ADD COLUMN text_hash text,
  ADD COLUMN source_id uuid,
  ADD COLUMN origin text,
  -- Opens an encrypted file; emptied as soon as the file has been read.
  ADD COLUMN password text,
  -- A copy of an encrypted file without its protection, for showing its pages.
  ADD COLUMN unlocked_key text,
  ADD COLUMN queued_at timestamptz NOT NULL DEFAULT now(),
  -- When its extraction was handed out; unset while it waits for its workspace's turn.
  ADD COLUMN released_at timestamptz,
  ADD COLUMN batch_count integer,
  -- What led to the work that waits: correlation_id, causation_id, actor, traceparent.
  ADD COLUMN cause jsonb NOT NULL DEFAULT '{}',
  -- Of a deleted document: how many pages went with it, and when its objects were gone.
  ADD COLUMN erased_pages integer,
  ADD COLUMN erased_at timestamptz;

UPDATE documents SET served_version = version WHERE status = 'ready';
-- Whatever was on its way has its message already.
UPDATE documents SET released_at = now() WHERE status IN ('queued', 'extracting', 'chunking');

CREATE INDEX documents_waiting ON documents (workspace_id, queued_at, document_id)
  WHERE status = 'queued' AND released_at IS NULL AND deleted_at IS NULL;
CREATE INDEX documents_released ON documents (workspace_id)
  WHERE released_at IS NOT NULL AND status IN ('queued', 'extracting', 'chunking') AND deleted_at IS NULL;
CREATE INDEX documents_embedding ON documents (document_id) WHERE status = 'embedding' AND deleted_at IS NULL;
CREATE INDEX documents_by_status ON documents (workspace_id, status) WHERE deleted_at IS NULL;
CREATE INDEX documents_of_source ON documents (source_id) WHERE source_id IS NOT NULL;

-- `lines`: for a page read by OCR, [start, end, left, top, right, bottom] of each line, in shares of the page.
ALTER TABLE pages ADD COLUMN kind text NOT NULL DEFAULT 'page', ADD COLUMN lines jsonb;

CREATE TABLE versions (
  document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  version integer NOT NULL,
  filename text NOT NULL,
  content_type text NOT NULL,
  size bigint NOT NULL,
  sha256 text NOT NULL,
  object_key text NOT NULL,
  unlocked_key text,
  page_count integer,
  extractor text,
  text_hash text,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (document_id, version)
);
CREATE INDEX versions_objects ON versions (object_key);
CREATE INDEX versions_unlocked ON versions (unlocked_key) WHERE unlocked_key IS NOT NULL;
INSERT INTO versions
  SELECT document_id, version, filename, content_type, size, sha256, object_key, NULL, page_count, NULL, NULL, created_by,
    created_at
  FROM documents WHERE deleted_at IS NULL;

CREATE TABLE units (
  document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  version integer NOT NULL,
  ordinal integer NOT NULL,
  page integer NOT NULL,
  kind text NOT NULL,
  label text NOT NULL,
  level integer NOT NULL,
  start_offset integer NOT NULL,
  end_offset integer NOT NULL,
  PRIMARY KEY (document_id, version, ordinal)
);

-- Chunks that embed has not stored yet, in the batches in which they travel; a row goes when embed has said so.
CREATE TABLE batches (
  document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  version integer NOT NULL,
  batch integer NOT NULL,
  workspace_id uuid NOT NULL,
  chunk_count integer NOT NULL,
  chunks jsonb NOT NULL,
  queued_at timestamptz NOT NULL DEFAULT now(),
  released_at timestamptz,
  -- Of a document that failed: kept for another attempt, and in nobody's way until then.
  held boolean NOT NULL DEFAULT false,
  PRIMARY KEY (document_id, version, batch)
);
CREATE INDEX batches_waiting ON batches (workspace_id, queued_at, document_id, batch) WHERE released_at IS NULL AND NOT held;
CREATE INDEX batches_released ON batches (workspace_id) WHERE released_at IS NOT NULL AND NOT held;

-- One row: moving averages of what work takes here, for estimates. Seconds, but for `document_chunks`.
CREATE TABLE speeds (
  here boolean PRIMARY KEY DEFAULT true CHECK (here),
  document_seconds double precision,
  page_seconds double precision,
  document_chunks double precision,
  chunk_seconds double precision,
  chunk_at timestamptz
);
INSERT INTO speeds DEFAULT VALUES;

-- Pictures of pages, made when somebody looked.
CREATE TABLE renderings (
  object_key text PRIMARY KEY,
  document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  version integer NOT NULL,
  number integer NOT NULL,
  width integer NOT NULL,
  height integer NOT NULL,
  content_type text NOT NULL
);
CREATE INDEX renderings_of_document ON renderings (document_id, version);
"""

DOWNGRADE = """
DROP TABLE renderings;
DROP TABLE speeds;
DROP TABLE batches;
DROP TABLE units;
DROP TABLE versions;
DELETE FROM pages p USING documents d WHERE d.document_id = p.document_id AND d.version <> p.version;
ALTER TABLE pages DROP COLUMN kind, DROP COLUMN lines;
DROP INDEX documents_waiting, documents_released, documents_embedding, documents_by_status, documents_of_source;
ALTER TABLE documents
  DROP COLUMN attempt, DROP COLUMN served_version, DROP COLUMN metadata, DROP COLUMN extractor, DROP COLUMN text_hash,
  DROP COLUMN source_id, DROP COLUMN origin, DROP COLUMN password, DROP COLUMN unlocked_key, DROP COLUMN queued_at,
  DROP COLUMN released_at, DROP COLUMN batch_count, DROP COLUMN cause, DROP COLUMN erased_pages, DROP COLUMN erased_at;
"""


def upgrade() -> None:
    for statement in UPGRADE.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE.split(";\n"):
        if statement.strip():
            op.execute(statement)

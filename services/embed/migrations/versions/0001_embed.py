"""Documents, chunks with their words, embeddings, what a workspace's ranking needs to know, messaging.

Revision ID: 0001
"""

from __future__ import annotations

from alembic import op
from docutalk_common.migrations import create_messaging_tables, drop_messaging_tables

revision = "0001"
down_revision = None

# BM25 as one inner product: a chunk's vector holds the saturated term frequencies (k1 1.2, b .75), the query's holds the
# inverse document frequencies. The average length is a constant, because chunks are about equally long and a moving
# average would change every stored weight: 80 words, which on Cranfield and CISI finds as well as their true averages or
# better (nDCG@10 .389 and .334 against .381 and .333). Words are hashed to 2^28 dimensions.
LEXEME_DIMENSION = """
CREATE FUNCTION lexeme_dimension(lexeme text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (hashtextextended(lexeme, 0) & 268435455)::integer + 1
"""
LEXEME_WEIGHTS = """
CREATE FUNCTION lexeme_weights(words tsvector) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT ('{' || coalesce(string_agg(dimension || ':' || weight, ','), '') || '}/268435456')::sparsevec
  FROM (
    SELECT
      lexeme_dimension(lexeme) AS dimension,
      sum(2.2 * frequency / (frequency + 1.2 * (0.25 + 0.75 * length / 80.0)))::real AS weight
    FROM (
      SELECT lexeme, cardinality(positions) AS frequency, sum(cardinality(positions)) OVER () AS length
      FROM unnest(words)
    ) AS counted
    GROUP BY 1
  ) AS weighted;
END
"""

TABLES = """
CREATE TABLE models (
  id smallint PRIMARY KEY,
  name text NOT NULL UNIQUE,
  dimension integer NOT NULL
);
INSERT INTO models VALUES (1, 'all-MiniLM-L6-v2', 384);

-- A row outlives its document: `deleted` keeps late batches out. `live_version` is the one that searches find.
CREATE TABLE documents (
  document_id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL,
  version integer NOT NULL,
  live_version integer,
  live_chunk_count integer NOT NULL DEFAULT 0,
  deleted boolean NOT NULL DEFAULT false,
  filename text,
  content_type text,
  document_created_at timestamptz,
  chunks_done integer NOT NULL DEFAULT 0,
  batches_done integer NOT NULL DEFAULT 0
);
CREATE INDEX documents_workspace ON documents (workspace_id);

CREATE TABLE index_batches (
  document_id uuid NOT NULL,
  version integer NOT NULL,
  batch integer NOT NULL,
  PRIMARY KEY (document_id, version, batch)
);

CREATE TABLE chunks (
  chunk_id uuid PRIMARY KEY,
  workspace_id uuid NOT NULL,
  document_id uuid NOT NULL,
  version integer NOT NULL,
  ordinal integer NOT NULL,
  page integer NOT NULL,
  start_offset integer NOT NULL,
  end_offset integer NOT NULL,
  text text NOT NULL,
  words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english'::regconfig, text)) STORED,
  weights sparsevec NOT NULL GENERATED ALWAYS AS (lexeme_weights(to_tsvector('english'::regconfig, text))) STORED
) WITH (toast_tuple_target = 1024);
-- Scoring reads the weights of thousands of rows, so they stay in the row; text and words move out.
ALTER TABLE chunks ALTER COLUMN weights SET STORAGE PLAIN;
CREATE INDEX chunks_workspace ON chunks (workspace_id);
CREATE INDEX chunks_document ON chunks (document_id, version);
CREATE INDEX chunks_words ON chunks USING gin (words);

-- The column has no dimension and the index is partial, so that another model's vectors can lie beside these.
CREATE TABLE embeddings (
  model_id smallint NOT NULL REFERENCES models,
  chunk_id uuid NOT NULL,
  workspace_id uuid NOT NULL,
  document_id uuid NOT NULL,
  version integer NOT NULL,
  embedding halfvec NOT NULL,
  PRIMARY KEY (chunk_id, model_id)
);
CREATE INDEX embeddings_workspace ON embeddings (workspace_id);
CREATE INDEX embeddings_document ON embeddings (document_id, version);
CREATE INDEX embeddings_1_hnsw ON embeddings USING hnsw ((embedding::halfvec(384)) halfvec_ip_ops) WHERE model_id = 1;

-- Of live versions only.
CREATE TABLE workspaces (
  workspace_id uuid PRIMARY KEY,
  chunk_count bigint NOT NULL
);
CREATE TABLE lexemes (
  workspace_id uuid NOT NULL,
  lexeme text NOT NULL,
  chunk_count integer NOT NULL,
  PRIMARY KEY (workspace_id, lexeme)
)
"""


def upgrade() -> None:
    """Makes the tables."""
    op.execute(LEXEME_DIMENSION)
    op.execute(LEXEME_WEIGHTS)
    # The driver takes one statement at a time.
    for statement in TABLES.split(";\n"):
        op.execute(statement)
    create_messaging_tables()


def downgrade() -> None:
    """Drops them."""
    drop_messaging_tables()
    op.execute("DROP TABLE lexemes, workspaces, embeddings, chunks, index_batches, documents, models")
    op.execute("DROP FUNCTION lexeme_weights, lexeme_dimension")

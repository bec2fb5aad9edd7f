"""Places that documents name.

Revision ID: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
-- A place is what the gazetteer says of it, copied when it is first named: a later gazetteer may number otherwise.
CREATE TABLE places (
  place_id integer PRIMARY KEY,
  name text NOT NULL,
  kind text NOT NULL,
  country text NOT NULL,
  latitude double precision NOT NULL,
  longitude double precision NOT NULL,
  population bigint NOT NULL
);
CREATE INDEX places_coordinates ON places (latitude, longitude);

CREATE TABLE mentions (
  chunk_id uuid NOT NULL REFERENCES chunks ON DELETE CASCADE,
  place_id integer NOT NULL REFERENCES places,
  workspace_id uuid NOT NULL,
  document_id uuid NOT NULL,
  version integer NOT NULL,
  mentions integer NOT NULL,
  PRIMARY KEY (chunk_id, place_id)
);
CREATE INDEX mentions_document ON mentions (document_id, version);
-- With the document, so that a filter by a box reads nothing but the index.
CREATE INDEX mentions_workspace_place ON mentions (workspace_id, place_id) INCLUDE (document_id, version);

-- Of live versions only: a list of a workspace's places would have to read all of its mentions, a second for a million.
CREATE TABLE named_places (
  workspace_id uuid NOT NULL,
  place_id integer NOT NULL REFERENCES places,
  documents integer NOT NULL,
  mentions bigint NOT NULL,
  PRIMARY KEY (workspace_id, place_id)
)
"""


def upgrade() -> None:
    """Makes the tables."""
    for statement in UPGRADE.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    """Drops them."""
    op.execute("DROP TABLE named_places, mentions, places")

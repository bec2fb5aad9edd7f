"""The words of documents' names, to find documents by them.

Revision ID: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

# `3M_2018_10K.pdf` → 3m is too short to tell documents apart, 2018 is not; numbers of fewer digits are counts, parts and pages.
NAME_LEXEMES = r"""
CREATE FUNCTION name_lexemes(name text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT DISTINCT unnest(ts_lexize('english_stem', word[1]))
  FROM regexp_matches(
    lower(regexp_replace(name, '\.[[:alnum:]]{1,5}$', '')),
    '[^[:space:][:punct:][:digit:]]{2,}|[[:digit:]]{4,}', 'g'
  ) AS word;
END
"""
KEEP_NAMES = """
CREATE FUNCTION keep_document_names() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM document_names WHERE document_id = NEW.document_id;
  INSERT INTO document_names
    SELECT NEW.workspace_id, lexeme, NEW.document_id FROM name_lexemes(NEW.filename) AS lexeme
    UNION SELECT NEW.workspace_id, lexeme, NEW.document_id FROM name_lexemes(NEW.title) AS lexeme;
  RETURN NULL;
END
$$
"""
UPGRADE = """
CREATE TABLE document_names (
  workspace_id uuid NOT NULL,
  lexeme text NOT NULL,
  document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  PRIMARY KEY (workspace_id, lexeme, document_id)
);
CREATE INDEX document_names_document ON document_names (document_id);
INSERT INTO document_names
  SELECT workspace_id, lexeme, document_id FROM documents, name_lexemes(filename) AS lexeme
  UNION SELECT workspace_id, lexeme, document_id FROM documents, name_lexemes(title) AS lexeme;
CREATE TRIGGER document_named AFTER INSERT ON documents
  FOR EACH ROW WHEN (NEW.filename IS NOT NULL) EXECUTE FUNCTION keep_document_names();
CREATE TRIGGER document_renamed AFTER UPDATE OF filename, title ON documents
  FOR EACH ROW WHEN (NEW.filename IS DISTINCT FROM OLD.filename OR NEW.title IS DISTINCT FROM OLD.title)
  EXECUTE FUNCTION keep_document_names()
"""
DOWNGRADE = """
DROP TRIGGER document_renamed ON documents;
DROP TRIGGER document_named ON documents;
DROP TABLE document_names;
DROP FUNCTION keep_document_names, name_lexemes
"""


def upgrade() -> None:
    """Makes the table, fills it and keeps it."""
    op.execute(NAME_LEXEMES)
    for statement in UPGRADE.split(";\n"):
        if statement.startswith("CREATE TRIGGER document_named"):
            op.execute(KEEP_NAMES)
        op.execute(statement)


def downgrade() -> None:
    """Drops it."""
    for statement in DOWNGRADE.split(";\n"):
        op.execute(statement)

"""Words in the language of the document, identifiers as they stand, and what searches filter by.

Revision ID: 0004
"""

# ruff: noqa: S608 - what is put into the statements are constants of this module.
from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# Scripts without spaces between words, and Korean, whose words carry their particles.
UNSPACED = (
    r"\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3041-\u30FF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7AF\uF900-\uFAFF"
)
UNSPACED += r"\U00020000-\U0003FFFF"
# Punctuation and symbols beyond ASCII. In a database with the C locale PostgreSQL's parser takes all of them for letters.
SIGNS = r"\u00A1-\u00BF\u00D7\u00F7\u2000-\u200A\u200E-\u2BFF\u2E00-\u2FFF\u3000-\u303F\uE000-\uF8FF\uFE30-\uFE6F\uFFF0-\uFFFF"
SIGNS += r"\U0001F000-\U0001FAFF"

# Each character is a word, and each two that stand together: a single one means little in Chinese.
UNSPACED_WORDS = rf"""
CREATE FUNCTION unspaced_words(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT regexp_replace(text, '([{UNSPACED}])', ' \1 ', 'g') || coalesce(string_agg(' ' || substr(run, start, 2), ''), '')
  FROM (SELECT found[1] AS run FROM regexp_matches(text, '[{UNSPACED}]{{2,}}', 'g') AS found) AS runs,
    generate_series(1, length(run) - 1) AS start;
END
"""
SEPARATED_TEXT = rf"""
CREATE FUNCTION separated_text(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE WHEN text ~ '[{UNSPACED}]' THEN unspaced_words(text) ELSE text END
  FROM (
    SELECT regexp_replace(
      translate(normalize(regexp_replace(text, '[\u00AD\u200B\u2060\uFEFF]', '', 'g'), NFKC), '‐', '-'),
      '[{SIGNS}]+', ' ', 'g'
    ) AS text
  ) AS separated;
END
"""
# What PostgreSQL's parser is given. Left alone it takes SKU-4711 for a negative number, and/or for the name of a file,
# end.Next for a host and <b> for nothing: the words in them could not be found. Other hyphens stay, and so do U.S. and e.g.:
# without these compounds nDCG@10 fell by .006 and .003 on CISI; with this it is .395 for .389 on Cranfield, .333 on CISI.
PLAIN_TEXT = r"""
CREATE FUNCTION plain_text(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(replace(replace(
  regexp_replace(
    CASE WHEN octet_length(text) = length(text) THEN text ELSE separated_text(text) END,
    '([^\W\d_])\.(?=[^\W\d_]{2})|([^\W_])-(?=\d)', '\1\2 ', 'g'
  ), '/', ' '), '_', ' '), '@', ' '), '<', ' ')
"""
# Names with digits or an @ in them, of up to 64 characters, as lexemes beside their words: `SKU-4711`, `AB/12-3`, `v1.2.3`,
# `name@example.com`; `§ 12` with one space however it is written, each of `§§ 12, 13`; capitals before a number, `ISO 9001:2015`,
# and what stands before a colon or slash of such a name, `ISO 9001`, or behind capitals, `4711-A` of `PART 4711-A`. No numbers,
# decimals, times, and no `12-month`.
IDENTIFIERS = r"""
CREATE FUNCTION identifiers(text text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  WITH found AS (
    SELECT regexp_replace(match[1], ' +', ' ') AS name
    FROM regexp_matches(
      CASE WHEN octet_length(text) = length(text) THEN text ELSE translate(text, '‐‑‒–−', '-----') END COLLATE pg_c_utf8,
      '(§§\s*\d[\w.-]*(?:(?:,\s*|\s+(?:und|and|bis|to|et)\s+|\s+-\s+)\d[\w.-]*)*|§\s*\d+[^\W_]*(?:[.-]\d+[^\W_]*)*'
      '|\m[A-Z]{2,8} +\d[^\W_]*(?:[-/:.][^\W_]+)*'
      '|[\w.%+-]*\w@[^\W_]+(?:[.-][^\W_]+)+'
      '|\m[^\W_]+(?:[-/:._][^\W_]+)+)',
      'g'
    ) AS match
  ),
  named AS (
    SELECT '§ ' || section[1] AS name
    FROM found, regexp_matches(name, '\d+[^\W_]*(?:[.-]\d+[^\W_]*)*', 'g') AS section
    WHERE name ^@ '§'
    UNION
    SELECT name FROM found WHERE name !~ '^§|^\d+[.:]?\d*$|^\d+(?:-[a-z]{3,})+$' AND name ~ '[\d@]'
    UNION
    SELECT head[1] FROM found, regexp_matches(name, '^([^:/]*[^\W\d_][^:/]*)[:/]') AS head WHERE head[1] ~ '\d'
    UNION
    SELECT tail[1] FROM found, regexp_matches(name, '^[A-Z]+ (.*[-/:.].*)$') AS tail WHERE tail[1] !~ '^\d+[.:]\d*$'
  )
  SELECT coalesce(array_agg(DISTINCT lower(name)), '{}') FROM named WHERE length(name) <= 64;
END
"""
INDEX_WORDS = r"""
CREATE FUNCTION index_words(config text, text text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN text ~ '[^\W_][-/:._‐-―−]\d|\d[-/:._‐-―−][^\W_]|[§@]|[A-Z]{2} +\d'
  THEN to_tsvector(config::regconfig, plain_text(text)) || array_to_tsvector(identifiers(text))
  ELSE to_tsvector(config::regconfig, plain_text(text))
END
"""
# As in the first migration, but for identifiers, which stand nowhere and add nothing to the length; in floating point, which
# is faster; and bounded: 900 weights fill a page of the table, and a chunk that did not fit could not be stored.
LEXEME_WEIGHTS = """
CREATE OR REPLACE FUNCTION lexeme_weights(words tsvector) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT ('{' || coalesce(string_agg(dimension || ':' || weight, ','), '') || '}/268435456')::sparsevec
  FROM (
    SELECT
      lexeme_dimension(lexeme) AS dimension,
      sum(2.2 * frequency / (frequency + (
        SELECT 0.3::float8 + 0.01125::float8 * coalesce(sum(cardinality(positions)), 0) FROM unnest(words)
      )))::real AS weight
    FROM (SELECT lexeme, coalesce(cardinality(positions), 1)::float8 AS frequency FROM unnest(words)) AS counted
    GROUP BY 1
    LIMIT 900
  ) AS weighted;
END
"""
LEXEME_WEIGHTS_BEFORE = """
CREATE OR REPLACE FUNCTION lexeme_weights(words tsvector) RETURNS sparsevec
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

COLUMNS = """
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
# Every row is written anew.
WORDS = """
ALTER TABLE chunks
  ALTER COLUMN words SET EXPRESSION AS (index_words(config, text)),
  ALTER COLUMN weights SET EXPRESSION AS (lexeme_weights(index_words(config, text)))
"""
WORDS_BEFORE = """
ALTER TABLE chunks
  ALTER COLUMN words SET EXPRESSION AS (to_tsvector('english'::regconfig, text)),
  ALTER COLUMN weights SET EXPRESSION AS (lexeme_weights(to_tsvector('english'::regconfig, text)))
"""
# Which configurations the live chunks of a workspace are read with: a query is read with all of them.
CONFIGURATIONS = """
CREATE TABLE configurations (
  workspace_id uuid NOT NULL,
  config text NOT NULL,
  chunk_count bigint NOT NULL,
  PRIMARY KEY (workspace_id, config)
);
INSERT INTO configurations
  SELECT c.workspace_id, c.config, count(*) FROM chunks c
  JOIN documents d ON d.document_id = c.document_id AND d.live_version = c.version GROUP BY 1, 2
"""
COUNT_WORDS = """
DELETE FROM lexemes;
INSERT INTO lexemes
  SELECT c.workspace_id, word.lexeme, count(*) FROM chunks c
  JOIN documents d ON d.document_id = c.document_id AND d.live_version = c.version, unnest(c.words) AS word GROUP BY 1, 2
"""
COLUMNS_BEFORE = """
ALTER TABLE chunks DROP COLUMN gap, DROP COLUMN config;
ALTER TABLE workspaces DROP COLUMN semantic_weight;
ALTER TABLE documents DROP COLUMN source_id, DROP COLUMN language, DROP COLUMN title
"""


def upgrade() -> None:
    """Adds the columns, and reads the words of all chunks again."""
    _execute(COLUMNS)
    for function in (UNSPACED_WORDS, SEPARATED_TEXT, PLAIN_TEXT, IDENTIFIERS, INDEX_WORDS, LEXEME_WEIGHTS):
        op.get_bind().exec_driver_sql(function)
    _execute(WORDS)
    _execute(COUNT_WORDS)
    _execute(CONFIGURATIONS)


def downgrade() -> None:
    """Removes them, and reads all words as English again."""
    op.get_bind().exec_driver_sql(LEXEME_WEIGHTS_BEFORE)
    _execute(WORDS_BEFORE)
    _execute(COUNT_WORDS)
    _execute("DROP TABLE configurations")
    _execute("DROP FUNCTION index_words, identifiers, plain_text, separated_text, unspaced_words")
    _execute(COLUMNS_BEFORE)


def _execute(statements: str) -> None:
    # As they are, because a colon in a regular expression is no parameter; one at a time, because the driver takes no more.
    for statement in statements.split(";\n"):
        op.get_bind().exec_driver_sql(statement)

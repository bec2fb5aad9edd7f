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

# Letters that Unicode writes in one way only, and signs that are common between them.
ORDINARY = r"\u0001-\u007F\u00C0-\u0131\u0134-\u013E\u0141-\u0148\u014A-\u017E\u0386-\u03CE\u0400-\u045F"
ORDINARY_SIGNS = r"\u00A0\u00A7\u00AB\u00B0\u00BB\u00D7\u2013\u2014\u2018-\u201E\u2022\u2026\u20AC"
MINUS_BEFORE_DIGIT = "replace(" * 10
DIGITS = "".join(f", '-{digit}', ' {digit}')" for digit in range(10)) + ","

# Each character is a word, and each two that stand together: a single one means little in Chinese.
UNSPACED_WORDS = rf"""
CREATE FUNCTION unspaced_words(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT regexp_replace(text, '([{UNSPACED}])', ' \1 ', 'g') || coalesce(string_agg(' ' || first || second, ''), '')
  FROM regexp_matches(text, '[{UNSPACED}]{{2,}}', 'g') AS found,
    LATERAL (
      SELECT character AS first, lead(character) OVER (ORDER BY place) AS second
      FROM unnest(string_to_array(found[1], NULL)) WITH ORDINALITY AS run (character, place)
    ) AS pairs
  WHERE second IS NOT NULL;
END
"""
# OFFSET 0, or the inner text would be computed once for each place in which it is used.
SEPARATED_TEXT = rf"""
CREATE FUNCTION separated_text(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE WHEN text ~ '[{UNSPACED}]' THEN unspaced_words(text) ELSE text END
  FROM (
    SELECT regexp_replace(
      translate(
        normalize(translate(regexp_replace(text, '[\u00AD\u200B\u2060\uFEFF]', '', 'g'), '´¨¯¸', '    '), NFKC), '‐', '-'
      ),
      '[{SIGNS}]+', ' ', 'g'
    ) AS text OFFSET 0
  ) AS separated;
END
"""
# What PostgreSQL's parser is given. Left alone it takes SKU-4711 for a negative number, and/or for the name of a file,
# end.Next for a host and <b> for nothing: the words in them could not be found. Other hyphens stay, and so do U.S. and e.g.:
# without these compounds nDCG@10 fell by .006 and .003 on CISI; with this it is .395 for .389 on Cranfield, .333 on CISI.
# Replaced one by one, because a regular expression takes 5 µs for each place. Most text beyond ASCII is Latin with a few
# signs, for which the way through Unicode's normal form would take twice as long as all the rest.
PLAIN_TEXT = rf"""
CREATE FUNCTION plain_text(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(replace(replace(replace(
  {MINUS_BEFORE_DIGIT}
    regexp_replace(
      CASE
        WHEN octet_length(text) = length(text) THEN text
        WHEN text ~ '[^{ORDINARY}{ORDINARY_SIGNS}]' THEN separated_text(text)
        ELSE regexp_replace(text, '[{ORDINARY_SIGNS}]+', ' ', 'g')
      END,
      '([^\W\d_])\.(?=[^\W\d_]{{2}})', '\1 ', 'g'
    )
  {DIGITS}
  '/', ' '), '_', ' '), '@', ' '), '<', ' '), '~', ' ')
"""
# Names with digits or an @ in them, of up to 64 characters, as lexemes beside their words: `SKU-4711`, `AB/12-3`, `v1.2.3`,
# `name@example.com`; `§ 12` with one space however it is written, each of `§§ 12, 13`; capitals before a number, `ISO 9001:2015`,
# and what stands before a colon or slash of such a name, `ISO 9001`, or behind capitals, `4711-A` of `PART 4711-A`. No numbers,
# decimals, times, and no `12-month`.
IDENTIFIERS = r"""
CREATE FUNCTION identifiers(text text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT coalesce(array_agg(DISTINCT name), '{}')
  FROM regexp_matches(
      CASE WHEN octet_length(text) = length(text) THEN text ELSE translate(text, '‐‑‒–−', '-----') END COLLATE pg_c_utf8,
      '(§§\s*\d[\w.-]*(?:(?:,\s*|\s+(?:und|and|bis|to|et)\s+|\s+-\s+)\d[\w.-]*)*|§\s*\d+[^\W_]*(?:[.-]\d+[^\W_]*)*'
      '|\m[A-Z]{2,8} +\d[^\W_]*(?:[-/:.][^\W_]+)*'
      '|[\w.%+-]*\w@[^\W_]+(?:[.-][^\W_]+)+'
      '|\m[^\W_]+(?:[-/:._][^\W_]+)+)',
      'g'
    ) AS match,
    unnest(
      CASE
        WHEN match[1] ^@ '§'
        THEN ARRAY(SELECT '§ ' || lower(found[1]) FROM regexp_matches(match[1], '\d+[^\W_]*(?:[.-]\d+[^\W_]*)*', 'g') AS found)
        WHEN match[1] !~ '[\d@]' OR match[1] ~ '^\d+[.:]?\d*$|^\d+(?:-[a-z]{3,})+$'
        THEN '{}'
        WHEN match[1] ~ '[ :/]'
        THEN lower(regexp_replace(match[1], ' +', ' '))
          || ARRAY(SELECT lower(regexp_replace(found[1], ' +', ' '))
            FROM regexp_matches(match[1], '^([^:/]*[^\W\d_][^:/]*)[:/]') AS found WHERE found[1] ~ '\d')
          || ARRAY(SELECT lower(found[1])
            FROM regexp_matches(match[1], '^[A-Z]+ +(.*[-/:.].*)$') AS found WHERE found[1] !~ '^\d+[.:]\d*$')
        ELSE ARRAY[lower(match[1])]
      END
    ) AS name
  WHERE length(name) <= 64;
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
# A trigger, so that the words are read once: a generated column may not be made of another one, and reading them twice cost
# more than all that is new here. The table is written anew, and the space of the update freed, by the last statement.
READ_WORDS = """
CREATE FUNCTION read_words() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  NEW.words := embed.index_words(NEW.config, NEW.text);
  RETURN NEW;
END
$$
"""
WORDS = """
ALTER TABLE chunks ALTER COLUMN words DROP EXPRESSION;
CREATE TRIGGER chunks_read_words BEFORE INSERT OR UPDATE OF text, config ON chunks
  FOR EACH ROW EXECUTE FUNCTION read_words();
UPDATE chunks SET text = text;
ALTER TABLE chunks ALTER COLUMN weights SET EXPRESSION AS (lexeme_weights(words))
"""
WORDS_BEFORE = """
ALTER TABLE chunks DROP COLUMN weights;
ALTER TABLE chunks DROP COLUMN words;
DROP FUNCTION read_words CASCADE;
ALTER TABLE chunks
  ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english'::regconfig, text)) STORED,
  ADD COLUMN weights sparsevec NOT NULL GENERATED ALWAYS AS (lexeme_weights(to_tsvector('english'::regconfig, text))) STORED;
ALTER TABLE chunks ALTER COLUMN weights SET STORAGE PLAIN;
CREATE INDEX chunks_words ON chunks USING gin (words)
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
    for function in (UNSPACED_WORDS, SEPARATED_TEXT, PLAIN_TEXT, IDENTIFIERS, INDEX_WORDS, LEXEME_WEIGHTS, READ_WORDS):
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

"""What embed knows without asking anyone: limits, the ranking's arithmetic, what a query may be."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from docutalk_common.errors import PermanentError, RequestFailed

MAX_LIMIT = 100
MAX_QUERY_CHARACTERS = 10_000
MAX_QUERY_LEXEMES = 128
"""The rarest are kept. With 64 of a pasted abstract nDCG@10 fell by .004 on CISI; 128 lose nothing."""
MAX_TEXTS = 256
EXACT_SCAN_CHUNKS = 20_000
"""Up to here looking at every chunk in reach beats the indexes, which hold all workspaces, and is always right: for a
workspace with 1 % of 100,000 chunks 6 against 480 ms by vectors, 3 against 160 ms by words."""
EXACT_SCAN_FACTOR = 23
"""A vector that is looked at costs .65 µs of computing time, one that a scan of the index comes by 15 µs: 23 times as much. With
little within reach the index is not only slower, it finds too few: .98 of the ten nearest where 4 % of 100,000 are in it, .84
where 1 % are."""
KEYWORD_CANDIDATES = 5_000
"""In a larger reach about that many passages are scored by their words; the rarest words of the query choose them."""
MOST_CANDIDATES = 10_000
"""Words that are in more passages than that choose together. Each candidate costs 2 µs of computing time."""
LEXEME_DIMENSIONS = 1 << 28
"""Words are hashed to that many dimensions; kept in step with the migration by a test."""

# What PostgreSQL cannot store and UTF-8 cannot carry.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def index_read(everything: int) -> int:
    """How many vectors in reach are read from an index of so many for a list of a hundred: what it gives first is not what is
    nearest. In a million, with 15 % in reach, the first hundred held .93 of the ten nearest, the first 400 .96."""
    return min(1_000, int(400 * max(1.0, everything / 100_000) ** 0.4))


def is_better_exact(reach: int, everything: int) -> bool:
    """Whether to look at all vectors in reach, rather than in the index of all workspaces, which comes by
    `index_read` × everything / reach vectors until enough of them were in reach."""
    return reach <= max(EXACT_SCAN_CHUNKS, math.isqrt(EXACT_SCAN_FACTOR * index_read(everything) * everything))


class InvalidQuery(RequestFailed):
    """The query cannot be searched for. The message says what to change."""

    def __init__(self, reason: str) -> None:
        super().__init__("invalid", reason)


class UnstorableText(PermanentError):
    """A chunk holds NUL or a lone surrogate, which ingest removes: the batch is broken."""

    def __init__(self, ordinal: int) -> None:
        super().__init__(f"chunk {ordinal} holds a NUL or half a character", code="unstorable_text")


def clean_query(query: str) -> str:
    """The query without what cannot be stored or is only space. Raises `InvalidQuery` when empty or too long."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidQuery(f"the query has {len(query):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed")
    query = clean_text(query).strip()
    if not query:
        raise InvalidQuery("the query is empty")
    return query


def clean_text(text: str) -> str:
    """The text with spaces in place of what cannot be stored."""
    return _UNSTORABLE.sub(" ", text)


def is_storable(text: str) -> bool:
    """Whether the text can be stored as it is."""
    return _UNSTORABLE.search(text) is None


@dataclass(frozen=True)
class Lexeme:
    """A word of the query in its dictionary form: its dimension, in how many chunks of the workspace it occurs, how many
    times its weight it has in the query, and the word itself: it has a form in each language."""

    text: str
    dimension: int
    chunk_count: int
    boost: float = 1.0
    word: str = ""


@dataclass(frozen=True)
class KeywordQuery:
    """`weights`: sparsevec whose inner product with a chunk's is the score. `candidates`: tsquery that chooses the chunks
    to score; None for all."""

    weights: str
    candidates: str | None


def inverse_document_frequency(matching: int, total: int) -> float:
    """BM25's idf in the form that is never negative (Robertson & Zaragoza 2009, as in Lucene)."""
    return math.log1p((max(total, matching) - matching + 0.5) / (matching + 0.5))


def keyword_query(lexemes: Sequence[Lexeme], total: int, reach: int) -> KeywordQuery | None:
    """The BM25 query in a workspace of `total` chunks, `reach` of which the filters leave; None when no chunk has a word of it.

    In a large reach the candidates are the chunks with the rarest words, word by word until there are enough of them. When
    even the rarest is in more than `MOST_CANDIDATES` they are those with the rarest and any other, the two rarest and any
    other, and so on.
    """
    known = sorted((lexeme for lexeme in lexemes if lexeme.chunk_count > 0), key=lambda lexeme: (lexeme.chunk_count, lexeme.text))
    known = known[:MAX_QUERY_LEXEMES]
    if not known:
        return None
    weights: dict[int, float] = {}
    for lexeme in known:
        weight = lexeme.boost * inverse_document_frequency(lexeme.chunk_count, total)
        weights[lexeme.dimension] = weights.get(lexeme.dimension, 0.0) + weight
    listed = ",".join(f"{dimension}:{weight:.6g}" for dimension, weight in sorted(weights.items()))
    candidates = None if reach <= EXACT_SCAN_CHUNKS else _candidates(known, total, reach / total)
    return KeywordQuery(f"{{{listed}}}/{LEXEME_DIMENSIONS}", candidates)


def _candidates(known: Sequence[Lexeme], total: int, share: float) -> str:
    """A tsquery for the chunks to score, of which the filters leave a share. The forms that a word has in several languages
    count as one: no chunk has two of them."""
    forms: dict[str, list[Lexeme]] = {}
    for lexeme in known:
        forms.setdefault(lexeme.word or lexeme.text, []).append(lexeme)
    words = sorted(
        (sum(form.chunk_count for form in listed), any_of([form.text for form in listed])) for listed in forms.values()
    )
    counts = [count for count, _ in words]
    choices = [f"({choice})" if " | " in choice else choice for _, choice in words]
    if counts[0] * share <= MOST_CANDIDATES:
        chosen = 1
        while chosen < len(words) and sum(counts[: chosen + 1]) * share <= KEYWORD_CANDIDATES:
            chosen += 1
        return " | ".join(choices[:chosen])
    # As if words came together by chance; they do more often, so there are rather more candidates than expected.
    expected = counts[0] * share
    for place in range(1, len(words)):
        none_of_the_rest = math.prod(1 - min(1.0, count / total) for count in counts[place:])
        if expected * (1 - none_of_the_rest) <= MOST_CANDIDATES:
            return f"{' & '.join(choices[:place])} & ({' | '.join(choices[place:])})"
        expected *= counts[place] / total
    return " & ".join(choices)


def any_of(lexemes: Sequence[str]) -> str:
    """A tsquery that matches any of the lexemes, quoted."""
    return " | ".join(map(_quoted, lexemes))


def all_of(lexemes: Sequence[str]) -> str:
    """A tsquery that matches all of the lexemes, quoted."""
    return " & ".join(map(_quoted, lexemes))


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"

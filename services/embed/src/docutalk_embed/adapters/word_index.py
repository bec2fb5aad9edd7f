"""A query in the words of the index: what they weigh in a workspace, which passages they leave, and where they stand in one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import Highlight
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.domain import Lexeme, all_of, any_of
from docutalk_embed.domain.languages import SIMPLE
from docutalk_embed.domain.marking import Marker, words_of
from docutalk_embed.domain.words import Identifier, ParsedQuery, pattern_of

NAME_BOOST, PART_BOOST = 2.0, 0.3
"""What an identifier that the workspace knows weighs, and what its parts weigh then: no passage that has SKU and 4711 apart,
or SKU-4712 three times, comes before one with SKU-4711."""
MAX_LOOKED_UP = 2_000
"""Characters of a query of which the words are looked up; ten thousand of Chinese would be twenty thousand words."""

# A token as each configuration of the workspace has it; one that it leaves out, a stop word, has a row without a lexeme.
TOKENS = """
SELECT t.place, t.token, f.config, f.chunk_count, q.lexeme, lexeme_dimension(q.lexeme), {count}
FROM (
  SELECT DISTINCT read.place, lower(parsed.token COLLATE pg_c_utf8) AS token
  FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS read (text, place), ts_parse('default', plain_text(read.text)) AS parsed
) AS t
CROSS JOIN {configurations} AS f (config, chunk_count)
LEFT JOIN LATERAL unnest(to_tsvector(CAST(f.config AS regconfig), t.token)) AS q ON true
{lexemes}
WHERE to_tsvector('simple', t.token) <> ''
"""
_TOKENS_OF_WORKSPACE = TOKENS.format(
    count="coalesce(l.chunk_count, 0)",
    configurations="(SELECT config, chunk_count FROM configurations WHERE workspace_id = :workspace_id)",
    lexemes="LEFT JOIN lexemes AS l ON l.workspace_id = :workspace_id AND l.lexeme = q.lexeme",
)
_NAMES = """
SELECT n.name, lexeme_dimension(n.name), l.chunk_count
FROM unnest(CAST(:names AS text[])) AS n (name)
JOIN lexemes AS l ON l.workspace_id = :workspace_id AND l.lexeme = n.name
"""
_MATCHING = """
SELECT t.token FROM unnest(CAST(:tokens AS text[])) AS t (token)
WHERE to_tsvector(CAST(:config AS regconfig), plain_text(t.token)) @@ (SELECT CAST(CAST(:wanted AS text) AS tsquery))
"""


@dataclass(frozen=True)
class WordQuery:
    """A query as a workspace's words have it.

    `lexemes` are those to score by. `conditions` is SQL that a chunk `c` must meet, beginning with ` AND `, empty when there is
    none, with its `parameters`. `has_phrases`: few passages will meet it, so that it is better to begin with those.
    `is_literal`: it asks for nothing but identifiers, and what a passage means says little.
    """

    parsed: ParsedQuery
    lexemes: Sequence[Lexeme] = ()
    conditions: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    is_literal: bool = False
    lexemes_of: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By word of the query, in lower case."""

    @property
    def has_phrases(self) -> bool:
        return bool(self.parsed.phrases)


@dataclass(frozen=True)
class _Token:
    """A word of the query with its lexemes by configuration; none where it is a stop word."""

    text: str
    lexemes: dict[str, list[Lexeme]]

    def distinct(self) -> dict[str, Lexeme]:
        return {lexeme.text: lexeme for listed in self.lexemes.values() for lexeme in listed}


class WordIndex:
    """The words of one workspace, inside of a transaction that the caller owns."""

    def __init__(self, session: AsyncSession, workspace_id: UUID) -> None:
        self._session = session
        self._workspace_id = workspace_id

    async def read(self, parsed: ParsedQuery) -> WordQuery:
        """The query as the workspace's configurations have it. A stop word of the language that the query is evidently in is
        none of its words in any other."""
        names = await self._names(parsed.identifiers)
        parts = " ".join(identifier.words for identifier in parsed.identifiers)
        rest, apart = await self._tokens(parsed.words, parts)
        stop_words = _stop_words([*rest, *apart])
        lexemes: dict[str, Lexeme] = {}
        known = " ".join(identifier.words for identifier in parsed.identifiers if any(s in names for s in identifier.spellings))
        for token, boost in [(t, 1.0) for t in rest] + [(t, PART_BOOST if t.text in known.split() else 1.0) for t in apart]:
            if token.text not in stop_words:
                for lexeme in token.distinct().values():
                    lexemes.setdefault(lexeme.text, replace(lexeme, boost=boost, word=token.text))
        has_words = any(lexeme.chunk_count and lexeme.boost == 1.0 for lexeme in lexemes.values())
        lexemes |= names
        conditions, parameters = await self._conditions(parsed)
        of_words = {token.text: token.distinct().keys() for token in [*rest, *apart]}
        return WordQuery(
            parsed, tuple(lexemes.values()), conditions, parameters, is_literal=bool(names) and not has_words, lexemes_of=of_words
        )

    async def highlights(self, query: WordQuery, texts: Sequence[tuple[str, str]]) -> list[list[Highlight]]:
        """Where words, phrases and identifiers of the query stand in each text, in code points; `texts` are pairs of
        configuration and text."""
        marker = Marker(query.parsed, [lexeme.text for lexeme in query.lexemes])
        wanted = any_of([lexeme.text for lexeme in query.lexemes])
        by_config: dict[str, set[str]] = {}
        for config, passage in texts:
            by_config.setdefault(config, set()).update(words_of(passage))
        matching: dict[str, set[str]] = {}
        for config, tokens in by_config.items() if wanted else ():
            found = await self._session.execute(text(_MATCHING), {"tokens": sorted(tokens), "config": config, "wanted": wanted})
            matching[config] = set(found.scalars())
        return [marker.mark(passage, matching.get(config, set())) for config, passage in texts]

    async def _tokens(self, *texts: str, counted: bool = True) -> list[list[_Token]]:
        """The words of each text; how many chunks have them need be known only if `counted`."""
        read: list[dict[str, dict[str, list[Lexeme]]]] = [{} for _ in texts]
        if any(one.strip() for one in texts):
            found = await self._read_tokens([one[:MAX_LOOKED_UP] for one in texts], counted=counted)
            for place, token, config, _, lexeme, dimension, count in sorted(found, key=lambda row: (-row[3], row[2])):
                listed = read[place - 1].setdefault(token, {}).setdefault(config, [])
                if lexeme is not None:
                    listed.append(Lexeme(lexeme, dimension, count))
        return [[_Token(token, lexemes) for token, lexemes in tokens.items()] for tokens in read]

    async def _names(self, identifiers: Sequence[Identifier]) -> dict[str, Lexeme]:
        names = [spelling for identifier in identifiers for spelling in identifier.spellings]
        if not names:
            return {}
        return {name: Lexeme(name, dimension, count, NAME_BOOST) for name, dimension, count in await self._read_names(names)}

    async def _read_tokens(self, texts: Sequence[str], *, counted: bool) -> Sequence[Sequence[Any]]:
        """Rows of `TOKENS`."""
        return (
            await self._session.execute(text(_TOKENS_OF_WORKSPACE), {"workspace_id": self._workspace_id, "texts": texts})
        ).all()

    async def _read_names(self, names: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Those that stand somewhere, with their dimensions, and in how many chunks."""
        return (await self._session.execute(text(_NAMES), {"workspace_id": self._workspace_id, "names": names})).all()

    async def _conditions(self, parsed: ParsedQuery) -> tuple[str, dict[str, Any]]:
        conditions: list[str] = []
        parameters: dict[str, Any] = {}
        for number, phrase in enumerate(parsed.phrases):
            conditions.append(await self._stands(phrase, f"phrase_{number}", parameters))
        for number, phrase in enumerate(parsed.excluded_phrases):
            conditions.append(f"NOT ({await self._stands(phrase, f'no_phrase_{number}', parameters)})")
        for number, word in enumerate(parsed.excluded_words):
            conditions.append(f"NOT ({await self._stands(word, f'no_word_{number}', parameters, any_form=True)})")
        return "".join(f" AND {condition}" for condition in conditions), parameters

    async def _stands(self, phrase: str, name: str, parameters: dict[str, Any], *, any_form: bool = False) -> str:
        """The condition that a phrase stands in a chunk as it is; or, `any_form`, that a word stands there in any form of it.

        The index of words is asked first, for those words of the phrase that no neighbour can hide in another token: of
        letters only. Where a configuration leaves all of them out, the text alone is looked at.
        """
        [tokens] = await self._tokens(phrase, counted=False)
        tokens = [token for token in tokens if token.text.isalpha()]
        by_config: dict[str, list[str]] = {}
        for token in tokens:
            for config, lexemes in token.lexemes.items():
                by_config.setdefault(config, []).extend(lexeme.text for lexeme in lexemes)
        sure = by_config and all(by_config.values())
        parameters[name] = pattern_of(phrase)
        stands = f"c.text COLLATE pg_c_utf8 ~* :{name}"
        if not sure:
            return stands
        parameters[f"{name}_words"] = " | ".join(sorted({f"({all_of(lexemes)})" for lexemes in by_config.values()}))
        has_words = f"c.words @@ (SELECT CAST(CAST(:{name}_words AS text) AS tsquery))"
        return has_words if any_form else f"{has_words} AND {stands}"


def _stop_words(tokens: Sequence[_Token]) -> set[str]:
    """The stop words of the language that the query is evidently in: the one that has most of them. A single one tells nothing
    of a language that is rare here: `war` and `hat` are German ones, and mean something in English."""
    if not tokens:
        return set()
    # Every token knows all configurations, that of most chunks first: of two languages with as many it is the likelier one.
    known = [config for config in tokens[0].lexemes if config != SIMPLE]
    listed = [{token.text for token in tokens if not token.lexemes[config]} for config in known]
    return max((words for place, words in enumerate(listed) if not place or len(words) > 1), key=len, default=set())

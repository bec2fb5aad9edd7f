"""Where the words of a query stand in a passage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from docutalk_common.contracts.embed import Highlight

from docutalk_embed.domain.words import UNSPACED, ParsedQuery, pattern_of

# As PostgreSQL's parser has them when the text was made plain: letters and digits, a decimal point.
_WORD = re.compile(r"\d+\.\d+(?!\w)|[^\W_]+")


def words_of(text: str) -> set[str]:
    """The words of a text for which the index may be asked whether they match, as they are written."""
    return {word for match in _WORD.finditer(text) if not UNSPACED.search(word := match[0])}


MOST_LITERAL = 128
"""Phrases and identifiers that are looked for in each text; a pasted list of a thousand took three seconds for a page."""


class Marker:
    """Marks what a query looks for. `lexemes` are the query's, as the index has them."""

    def __init__(self, parsed: ParsedQuery, lexemes: Sequence[str]) -> None:
        known = set(lexemes)
        literal = [*parsed.phrases]
        for identifier in parsed.identifiers:
            # What is one word is among the words that match.
            literal += [name for name in identifier.spellings if name in known and not _WORD.fullmatch(name)]
        literal = list(dict.fromkeys(literal))[:MOST_LITERAL]
        self._patterns = [re.compile(pattern_of(phrase), re.IGNORECASE) for phrase in literal]
        unspaced = [lexeme for lexeme in lexemes if UNSPACED.fullmatch(lexeme)]
        pairs = [lexeme for lexeme in unspaced if len(lexeme) > 1]
        # A character that the query has only within longer runs means something only there.
        within = set("".join(pairs))
        self._unspaced = [*pairs, *(lexeme for lexeme in unspaced if len(lexeme) == 1 and lexeme not in within)]

    def mark(self, text: str, matching: Collection[str]) -> list[Highlight]:
        """The stretches of the text, in order, none of which touches another; `matching` are its words that match."""
        found: list[Highlight] = []
        for start, end in sorted(self._stretches(text, matching)):
            if found and start <= found[-1].end and (start < found[-1].end or UNSPACED.match(text[start])):
                found[-1] = Highlight(start=found[-1].start, end=max(end, found[-1].end))
            else:
                found.append(Highlight(start=start, end=end))
        return found

    def _stretches(self, text: str, matching: Collection[str]) -> Iterator[tuple[int, int]]:
        for match in _WORD.finditer(text):
            if match[0] in matching:
                yield match.span()
        for pattern in self._patterns:
            yield from (match.span() for match in pattern.finditer(text))
        for run in self._unspaced:
            start = text.find(run)
            while start >= 0:
                yield start, start + len(run)
                start = text.find(run, start + 1)

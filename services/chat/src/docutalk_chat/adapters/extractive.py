"""The answerer that needs no model: sentences and table rows of the documents, word for word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from operator import mul
from typing import ClassVar

from docutalk_common.contracts.chat import Citation
from docutalk_common.llm import ModelOptions

from docutalk_chat.domain.answers import NOTHING_FOUND, Material, QuoteChecker, Tally, Turn
from docutalk_chat.domain.prompt import search_query
from docutalk_chat.domain.selection import Candidate, candidates, select, unnamed
from docutalk_chat.domain.spans import SpanKind

MOST_NAMES = 8
"""Names of a question that are looked for one after the other, while a person waits. Of more nobody can tell."""


class ExtractiveAnswerer:
    """`vectors` gives a unit vector for each text, or None: then words alone decide."""

    asks_model: ClassVar[bool] = False

    def __init__(self, vectors: Callable[[Sequence[str]], Awaitable[list[list[float]] | None]]) -> None:
        self._vectors = vectors

    async def stand_alone(self, turns: Sequence[Turn], options: ModelOptions, tally: Tally) -> str | None:
        """Not known: without a model there is nobody who understands a conversation."""
        return None

    async def answer(self, material: Material, quotes: QuoteChecker, tally: Tally) -> AsyncGenerator[str | Citation]:
        """One to four quotes with their markers. Only white space differs from the page: line ends become spaces."""
        earlier = [turn.text for turn in material.turns[:-1] if turn.role == "user"]
        question = search_query(material.question, earlier, material.selected_text)
        # Some tens of milliseconds of pure computing: other answers stream meanwhile.
        found = await asyncio.to_thread(candidates, question, material.sources)
        names = unnamed(material.question, material.sources)
        if 0 < len(names) <= MOST_NAMES and not await _is_mentioned(names, quotes):
            found = []
        marker = 0
        flowing = False
        for chosen in select(found, await self._cosines(question, found)):
            citation = await quotes.cite(marker + 1, chosen.source.passage, chosen.span.start, chosen.span.end)
            if citation is None:
                continue
            marker += 1
            # Sentences follow one another; a row of a table stands on a line of its own.
            flows = chosen.span.kind is SpanKind.SENTENCE
            before = "" if marker == 1 else " " if flows and flowing else "\n"
            flowing = flows
            yield f"{before}{' '.join(chosen.text.split())} [{marker}]"
            yield citation
        if marker == 0:
            yield NOTHING_FOUND

    async def _cosines(self, question: str, found: Sequence[Candidate]) -> list[float] | None:
        if not found:
            return None
        vectors = await self._vectors([question, *(candidate.spoken for candidate in found)])
        if vectors is None:
            return None
        asked, *others = vectors
        return [sum(map(mul, asked, other)) for other in others]


async def _is_mentioned(names: Sequence[str], quotes: QuoteChecker) -> bool:
    """Whether a document says one of them; the rest is not looked for then."""
    for name in names:
        if await quotes.mentions(name):
            return True
    return False

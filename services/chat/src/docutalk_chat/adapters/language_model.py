"""The answerer that asks a language model, and lets no marker through that does not stand on a page."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Sequence

from docutalk_common.contracts.chat import Citation
from docutalk_common.llm import LanguageModel, ModelError

from docutalk_chat.adapters.metrics import MARKERS_REMOVED
from docutalk_chat.domain.answers import (
    LONGEST_ANSWER,
    NOT_SUPPORTED,
    NOTHING_FOUND,
    AnswerNotPossible,
    Material,
    QuoteChecker,
)
from docutalk_chat.domain.markers import Marker, MarkerReader, Piece
from docutalk_chat.domain.prompt import build_messages
from docutalk_chat.domain.support import supporting_span
from docutalk_chat.domain.words import tokens


class ModelAnswerer:
    """Streams a model's text. Markers are checked, renumbered from 1 in order, or taken out, before anybody sees them."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    async def answer(self, material: Material, quotes: QuoteChecker) -> AsyncGenerator[str | Citation]:
        """See `Answerer`. Raises `AnswerNotPossible` with the code of the `ModelError`."""
        text = ""
        cited: dict[tuple[object, ...], Citation] = {}
        shown: set[int] = set()
        try:
            async with contextlib.aclosing(self._pieces(material)) as pieces:
                async for piece in pieces:
                    group = [] if isinstance(piece, str) else await self._cite_all(piece, material, quotes, cited)
                    out = piece if isinstance(piece, str) else _written(piece, group)
                    out = out if text else out.lstrip()
                    text += out
                    if out:
                        yield out
                    for citation in group:
                        if citation.marker not in shown:
                            shown.add(citation.marker)
                            yield citation
                    if len(text) > LONGEST_ANSWER:
                        break
        except ModelError as error:
            raise AnswerNotPossible(error.code, str(error)) from error
        if not text.strip():
            yield NOTHING_FOUND
        elif not cited and NOTHING_FOUND not in text:
            yield f"\n\n{NOT_SUPPORTED}"

    async def _pieces(self, material: Material) -> AsyncGenerator[Piece]:
        reader = MarkerReader()
        async with self._model.stream(build_messages(material, fence=secrets.token_hex(4))) as texts:
            async for text in texts:
                for piece in reader.feed(text):
                    yield piece
        for piece in reader.finish():
            yield piece

    async def _cite_all(
        self, marker: Marker, material: Material, quotes: QuoteChecker, cited: dict[tuple[object, ...], Citation]
    ) -> list[Citation]:
        """The citations of `[1, 3]`, each once."""
        group: list[Citation] = []
        for number in marker.numbers:
            citation = await self._cite(number, marker, material, quotes, cited)
            if citation is not None and citation not in group:
                group.append(citation)
        return group

    async def _cite(
        self,
        number: int,
        marker: Marker,
        material: Material,
        quotes: QuoteChecker,
        cited: dict[tuple[object, ...], Citation],
    ) -> Citation | None:
        passage = next((source.passage for source in material.sources if source.number == number), None)
        if passage is None:
            MARKERS_REMOVED.labels("out_of_range").inc()
            return None
        statement = marker.statement
        if len(tokens(statement)) < 2:
            # "Yes [1]." says something only together with the question.
            statement = f"{material.question} {statement}"
        span = supporting_span(statement, passage.text)
        if span is None:
            MARKERS_REMOVED.labels("unsupported").inc()
            return None
        place = (passage.document_id, passage.page, passage.start + span[0], passage.start + span[1])
        if place not in cited:
            citation = await quotes.cite(len(cited) + 1, passage, *span)
            if citation is None:
                return None
            cited[place] = citation
        return cited[place]


def _written(marker: Marker, group: Sequence[Citation]) -> str:
    """How a marker stands in the text; a marker without any citation goes with the space before it."""
    return marker.space + "".join(f"[{citation.marker}]" for citation in group) if group else ""

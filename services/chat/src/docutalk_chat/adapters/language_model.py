"""The answerer that asks a language model, and lets no marker through that does not stand on a page."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from docutalk_common.contracts.chat import Citation
from docutalk_common.llm import LanguageModel, ModelError, ModelMessage, ModelOptions, ModelUsage
from docutalk_common.telemetry import get_logger

from docutalk_chat.adapters.metrics import COST, MARKERS_REMOVED, TOKENS_USED
from docutalk_chat.domain.answers import (
    LONGEST_ANSWER,
    NOT_SUPPORTED,
    NOTHING_FOUND,
    AnswerNotPossible,
    Material,
    QuoteChecker,
    Tally,
    Turn,
)
from docutalk_chat.domain.budget import fit
from docutalk_chat.domain.images import ImageBreaker
from docutalk_chat.domain.markers import Marker, MarkerReader, Piece
from docutalk_chat.domain.prompt import build_messages, build_rewriting, rewritten
from docutalk_chat.domain.support import supporting_span
from docutalk_chat.domain.words import tokens

log = get_logger(__name__)

REWRITING_SECONDS = 10.0
"""A question that is not rewritten in this time is searched as it is: a person waits."""
_HALVINGS = 2


@dataclass
class _Written:
    """What was written so far. `cited` holds each citation by its place."""

    text: str = ""
    cited: dict[tuple[object, ...], Citation] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)


class ModelAnswerer:
    """Streams a model's text. Markers are checked, renumbered from 1 in order, or taken out, before anybody sees them."""

    asks_model: ClassVar[bool] = True

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    async def stand_alone(self, turns: Sequence[Turn], options: ModelOptions, tally: Tally) -> str | None:
        """See `Answerer`. A model that fails here may still answer, and if not, says so then."""
        messages = build_rewriting(turns, fence=secrets.token_hex(4))
        try:
            async with asyncio.timeout(REWRITING_SECONDS):
                written = await self.model.complete(messages, ModelOptions(model=options.model))
        except (ModelError, TimeoutError) as error:
            log.info("a question is searched as it is", reason=str(error))
            return None
        self._count(tally, written.usage)
        return rewritten(written.text, turns[-1].text)

    async def answer(self, material: Material, quotes: QuoteChecker, tally: Tally) -> AsyncGenerator[str | Citation]:
        """See `Answerer`. Raises `AnswerNotPossible` with the code of the `ModelError`."""
        written = _Written()
        try:
            tally.model = material.options.model or await self.model.default_model()
            window = await self.model.context_tokens(material.options.model)
            for halvings in range(_HALVINGS + 1):
                try:
                    async with contextlib.aclosing(self._written(material, window, quotes, tally, written)) as pieces:
                        async for piece in pieces:
                            yield piece
                    break
                except ModelError as error:
                    # The window was a guess, or the model's tokens are shorter than most.
                    if error.code != "model_context_exceeded" or written.text or halvings == _HALVINGS:
                        raise
                    window //= 2
        except ModelError as error:
            raise AnswerNotPossible(error.code, str(error)) from error
        if not written.text.strip():
            yield NOTHING_FOUND
        elif not written.cited and NOTHING_FOUND not in written.text:
            yield f"\n\n{NOT_SUPPORTED}"

    async def _written(
        self, material: Material, window: int, quotes: QuoteChecker, tally: Tally, written: _Written
    ) -> AsyncGenerator[str | Citation]:
        fitting = fit(material, window)
        messages = build_messages(fitting, fence=secrets.token_hex(4))
        images = ImageBreaker()
        async with contextlib.aclosing(self._pieces(messages, material.options, tally)) as pieces:
            async for piece in pieces:
                group = [] if isinstance(piece, str) else await self._cite_all(piece, fitting, quotes, tally, written)
                # Markers too: `![1](address)` is an image, and where one is taken out, what is left may become one.
                out = images.feed(piece if isinstance(piece, str) else _marked(piece, group))
                for told in _told(out, group, written):
                    yield told
        for told in _told(images.flush(), [], written):
            yield told

    async def _pieces(self, messages: Sequence[ModelMessage], options: ModelOptions, tally: Tally) -> AsyncGenerator[Piece]:
        reader = MarkerReader()
        # Counted as it comes: of endless white space nothing is ever written.
        room = LONGEST_ANSWER
        async with self.model.stream(messages, options) as stream:
            async for text in stream:
                for piece in reader.feed(text[:room]):
                    yield piece
                room -= len(text)
                if room <= 0:
                    tally.truncated = True
                    break
            tally.truncated = tally.truncated or stream.truncated
            self._count(tally, stream.usage)
        for piece in reader.finish():
            yield piece

    def _count(self, tally: Tally, usage: ModelUsage | None) -> None:
        tally.add(usage)
        if usage is not None:
            TOKENS_USED.labels("input").inc(usage.input_tokens)
            TOKENS_USED.labels("output").inc(usage.output_tokens)
            COST.inc(usage.cost_usd or 0)

    async def _cite_all(
        self, marker: Marker, material: Material, quotes: QuoteChecker, tally: Tally, written: _Written
    ) -> list[Citation]:
        """The citations of `[1, 3]`, each once."""
        group: list[Citation] = []
        for number in marker.numbers:
            citation = await self._cite(number, marker, material, quotes, written.cited)
            if citation is None:
                tally.markers_removed += 1
            elif citation not in group:
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
        place = (passage.document_id, passage.version, passage.page, passage.start + span[0], passage.start + span[1])
        if place not in cited:
            citation = await quotes.cite(len(cited) + 1, passage, *span)
            if citation is None:
                return None
            cited[place] = citation
        return cited[place]


def _told(out: str, group: Sequence[Citation], written: _Written) -> list[str | Citation]:
    """A piece of text and the citations that appear in it for the first time. White space before the first word is left out."""
    out = out if written.text else out.lstrip()
    written.text += out
    new = [citation for citation in group if citation.marker not in written.shown]
    written.shown.update(citation.marker for citation in new)
    return [out, *new] if out else list(new)


def _marked(marker: Marker, group: Sequence[Citation]) -> str:
    """How a marker stands in the text; a marker without any citation goes with the space before it."""
    return marker.space + "".join(f"[{citation.marker}]" for citation in group) if group else ""

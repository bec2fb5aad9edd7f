"""Chooses the spans that answer a question: relevant, and each telling something new.

Relevance is the share of the question's telling words (weighted by their rarity among the spans) that a span has itself
or, at half weight, in what stands above it (a row of a table has its year in the column titles); with sentence vectors,
their cosine besides. Novelty is maximal marginal relevance (Carbonell and Goldstein 1998).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from docutalk_chat.domain.answers import Source
from docutalk_chat.domain.spans import Span, SpanKind, spans
from docutalk_chat.domain.words import STOP_WORDS, Rarity, is_figure, stem, tokens

MOST_SPANS = 4
MOST_COMPARED = 32
"""As many spans are compared by vectors; the rest is behind by its words already."""
_CONTEXT_WEIGHT = 0.5
_CONTEXT_SPOKEN = 120
"""Characters. Embedding takes time for each word, and a person waits for it."""
_RARITY = 0.25
_TYPICAL_WORDS = 20
_LENGTH_PENALTY = 0.4
"""A span much longer than `_TYPICAL_WORDS` holds more of any question's words by chance: as b in BM25."""
_SPAN_WEIGHT = {SpanKind.SENTENCE: 1.0, SpanKind.ROW: 1.0, SpanKind.LINE: 0.75}
_LEXICAL, _COSINE, _PASSAGE = 0.6, 0.3, 0.1
_ROW_BASE, _ROW_LABEL = 0.6, 0.6
_OTHER_DOCUMENT = 0.7
_REDUNDANCY = 0.5
_AGAINST_BEST = 0.7
"""A further span must score at least this share of the best one."""
_LEAST_LEXICAL = 0.34
_LEAST_COSINE = 0.45
_LEAST_MEANING = 0.42
"""Cosine of the question with the nearest passage. Of 19 questions that annual reports answer the nearest came to .47 at
least, of 95 that they do not answer to less than .42 in all but eight."""
_SURE_LEXICAL = 0.6
_NEAR_MEANING, _NEAR_LEXICAL = 0.5, 0.2
_INSTRUCTIONS = frozenset(
    tokens(
        "please answer state question use using base based judgment provide provided response explain tell show list find give"
        " information primarily mention document according help calculate compute want"
    )
)
_ASKS_FIGURE = re.compile(
    r"\b(how (?:much|many|long|far|old|large|big)|what percent|percentage|total|amount|margin|ratio|eps|usd|in (?:m|b|tr)illions"
    r"|what (?:is|was|were|are) the (?:number|rate|value|price|cost|revenue|share))\b",
    re.IGNORECASE,
)


_ENGLISH = re.compile(r"\b(?:what|how|which|who|whose|when|where|why|does|did|were|are|has|have|the)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}(?=\b|['’]s)")
"""A word with a capital letter that does not begin a sentence."""
_DATES = frozenset(
    tokens(
        "January February March April May June July August September October November December Monday Tuesday Wednesday Thursday"
        " Friday Saturday Sunday"
    )
)
_ASKS_REASON = re.compile(r"\bwhy\b|\b(?:drove|drives?|driven|caused?|reasons?|explains?|led to)\b", re.IGNORECASE)
_GIVES_REASON = re.compile(
    r"\b(?:due to|because|driven by|as a result|attributable|reflect(?:s|ed|ing)|caused by|owing to|result(?:s|ed|ing) from"
    r"|thanks to)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Candidate:
    """A span of a source that might be part of an answer. `lexical` is within 0…1."""

    source: Source
    span: Span
    text: str
    words: frozenset[str]
    lexical: float
    asked: int
    """How many of the question's words the span says itself."""
    named: bool
    """False when the question names another document than this span's, as by a company."""

    @property
    def spoken(self) -> str:
        """What a sentence vector is made from: a row alone says little, so its context comes with it."""
        text = " ".join(self.text.split())
        return f"{self.span.context[-_CONTEXT_SPOKEN:]} {text}" if self.span.kind is SpanKind.ROW else text


def candidates(question: str, sources: Sequence[Source]) -> list[Candidate]:
    """Every span of the sources with its lexical score, best first, at most `MOST_COMPARED`. What overlapping passages
    both hold comes once."""
    asked = [word for word in dict.fromkeys(tokens(question)) if word not in _INSTRUCTIONS]
    seen: set[tuple[object, ...]] = set()
    found: list[tuple[Source, Span, str, frozenset[str], frozenset[str], frozenset[str]]] = []
    for source in sources:
        passage = source.passage
        name = "".join(filter(str.isalnum, PurePosixPath(passage.filename).stem.lower()))
        # `AMERICANEXPRESS_2022_10K.pdf` is about the American Express of the question, and each of its rows is.
        document = frozenset(word for word in asked if len(word) >= 4 and word in name)
        before = ""
        for span in spans(passage.text):
            text = passage.text[span.start : span.end]
            # A sentence often speaks of what the one before it named.
            above = f"{span.context} {before}" if span.kind is SpanKind.SENTENCE else span.context
            before = text
            place = (passage.document_id, passage.page, passage.start + span.end)
            if place in seen or len(text) < 3:
                continue
            seen.add(place)
            found.append((source, span, text, frozenset(tokens(text)), frozenset(tokens(above)), document))
    rarity = Rarity([words | context | document for _, _, _, words, context, document in found])
    # Damped: the passages were found by the question's words, so that its most telling ones are common among them.
    weights = {word: 1 + _RARITY * rarity(word) for word in asked}
    whole = sum(weights.values()) or 1.0
    # Of the question's words in a file's name only those tell documents apart that are no year.
    named = {source.number: sum(not is_figure(word) for word in document) for source, _, _, _, _, document in found}
    most_named = max(named.values(), default=0)
    wants_reason = _ASKS_REASON.search(question) is not None
    wants_figure = _ASKS_FIGURE.search(question) is not None
    result = []
    for source, span, text, words, context, document in found:
        score = sum(
            weight * (1.0 if word in words or word in document else _CONTEXT_WEIGHT if word in context else 0.0)
            for word, weight in weights.items()
        )
        score = score / whole * _SPAN_WEIGHT[span.kind]
        score /= 1 + _LENGTH_PENALTY * max(len(words) / _TYPICAL_WORDS - 1, 0)
        if span.kind is SpanKind.ROW:
            label = [word for word in words if not is_figure(word)]
            told = sum(word in weights for word in label) / len(label) if label else 0.0
            # `Total current liabilities` is what was asked for, `Total current assets` is not.
            score *= _ROW_BASE + _ROW_LABEL * told
        if wants_reason and _GIVES_REASON.search(text):
            score *= 1.4
        if wants_figure and not any(is_figure(word) for word in words):
            score *= 0.7
        asked_here = len(words & weights.keys() - document)
        result.append(Candidate(source, span, text, words, score, asked_here, named[source.number] == most_named))
    result.sort(key=lambda candidate: (-candidate.lexical, candidate.source.number, candidate.span.start))
    return result[:MOST_COMPARED]


def unnamed(question: str, sources: Sequence[Source]) -> list[str]:
    """The names in an English question, when no source says any of them: what annual reports say of revenue does not answer a
    question about that of somebody else. In other languages a capital letter may mean no name."""
    if not _ENGLISH.search(question):
        return []
    # `In the report, What was …`: a small word is no name, and no source would say it.
    names = [
        name
        for name in dict.fromkeys(_NAME.findall(question))
        if stem(name.lower()) not in _DATES and name.lower() not in STOP_WORDS
    ]
    said = {word for source in sources for word in tokens(f"{source.passage.text} {source.passage.filename}")}
    files = ["".join(filter(str.isalnum, source.passage.filename.lower())) for source in sources]
    is_named = any(stem(name.lower()) in said or any(name.lower() in file for file in files) for name in names)
    return [] if is_named else names


def select(found: Sequence[Candidate], cosines: Sequence[float] | None = None, *, most: int = MOST_SPANS) -> list[Candidate]:
    """The one to four candidates that answer, most relevant first; none when nothing is relevant enough.

    `cosines` are those of the question with each candidate's `spoken`; without them words alone decide.
    """
    if not found:
        return []
    scores = [
        (
            _LEXICAL * candidate.lexical
            + _COSINE * (cosines[index] if cosines is not None else candidate.lexical)
            + _PASSAGE * candidate.source.passage.score
        )
        * (1 if candidate.named else _OTHER_DOCUMENT)
        for index, candidate in enumerate(found)
    ]

    meanings = [meaning for one in found if (meaning := one.source.passage.scores.semantic) is not None]
    least = _SURE_LEXICAL if meanings and max(meanings) < _LEAST_MEANING else _LEAST_LEXICAL

    def supports(index: int) -> bool:
        candidate = found[index]
        if candidate.span.kind is not SpanKind.SENTENCE and not candidate.asked:
            # All rows of a table are alike in their context; only its own label makes a row the one that was asked for.
            return False
        if candidate.lexical >= least:
            return True
        if least == _SURE_LEXICAL:
            return False
        meaning = candidate.source.passage.scores.semantic or 0.0
        return (cosines is not None and cosines[index] >= _LEAST_COSINE) or (
            meaning >= _NEAR_MEANING and candidate.lexical >= _NEAR_LEXICAL
        )

    open_ = [index for index in range(len(found)) if supports(index)]
    chosen: list[int] = []
    best = max((scores[index] for index in open_), default=0.0)
    while open_ and len(chosen) < most:
        rated = [(scores[index] * (1 - _REDUNDANCY * _likeness(found, index, chosen)), -index) for index in open_]
        score, negative = max(rated)
        if score < _AGAINST_BEST * best:
            break
        chosen.append(-negative)
        open_.remove(-negative)
    return [found[index] for index in chosen]


def _likeness(found: Sequence[Candidate], index: int, chosen: Sequence[int]) -> float:
    """The largest share of a candidate's words that one chosen span has already."""
    words = found[index].words
    return max((len(words & found[other].words) / len(words) if words else 1.0 for other in chosen), default=0.0)

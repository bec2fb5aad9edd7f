"""States, limits, named errors, and the parts that an answer is made from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal, Protocol

from docutalk_common.contracts.chat import Citation
from docutalk_common.contracts.embed import Passage
from docutalk_common.errors import DocuTalkError
from docutalk_common.llm import ModelOptions, ModelUsage

CONTEXT_MESSAGES = 10
"""How many messages of a session a model sees, oldest first. The question just posted is the last of them."""
PASSAGES = 10
"""How many passages an answer is made from, unless a workspace says otherwise."""
MOST_PASSAGES = 50
EXTRACTIVE = "extractive"
"""The name of the answerer that needs no model, where models are named."""
TITLE_CHARACTERS = 80
LONGEST_TITLE = 200
LONGEST_ANSWER = 16_000
"""Characters. A model that goes on and on is stopped here."""

NOTHING_FOUND = "I found nothing in the documents that answers this."
NOT_SUPPORTED = "Nothing in the documents was found to support this answer."


class AnswerStatus(StrEnum):
    """Where an answer is. `COMPLETED` and `FAILED` are final."""

    ANSWERING = "answering"
    COMPLETED = "completed"
    FAILED = "failed"


class AnswerNotPossible(DocuTalkError):
    """There will be no answer: `code` for programs, the reason for the person who asked."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Turn:
    """One earlier message of a session, or the question itself."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Source:
    """A passage under the number by which an answer refers to it, from 1."""

    number: int
    passage: Passage


@dataclass(frozen=True)
class Material:
    """All that an answer may be made from. `turns` ends with the question."""

    question: str
    turns: Sequence[Turn]
    sources: Sequence[Source]
    selected_text: str | None = None
    selected_source: int | None = None
    """The number of the source that is the selected text, when it was found in a document."""
    system_prompt: str | None = None
    """The workspace's own instruction; for language models only, as are the options."""
    options: ModelOptions = field(default_factory=ModelOptions)


@dataclass
class Tally:
    """What is counted while an answer is made, also of one that is stopped in the middle."""

    model: str = EXTRACTIVE
    usage: ModelUsage | None = None
    markers_removed: int = 0
    truncated: bool = False

    def add(self, usage: ModelUsage | None) -> None:
        """Adds one call of a model."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage


class QuoteChecker(Protocol):
    """Compares quotes with the page as ingest keeps it."""

    async def cite(self, marker: int, passage: Passage, start: int, end: int) -> Citation | None:
        """The citation of `passage.text[start:end]`, or None when the page does not say exactly that."""
        ...

    async def mentions(self, word: str) -> bool:
        """Whether a document that the question may be answered from says this word anywhere."""
        ...


class Answerer(Protocol):
    """Makes answers. Implemented by the extractive answerer and by language models."""

    asks_model: ClassVar[bool]
    """Whether `stand_alone` waits for a model."""

    async def stand_alone(self, turns: Sequence[Turn], options: ModelOptions, tally: Tally) -> str | None:
        """The last turn as somebody can understand it who does not know the others; None when that is not known."""
        ...

    def answer(self, material: Material, quotes: QuoteChecker, tally: Tally) -> AsyncGenerator[str | Citation]:
        """The answer in pieces: its text in order, and each citation right behind its marker `[n]`, with no waiting between.

        Joined, the pieces of text are the whole answer. No citation means that nothing supports it, and the text says so.
        Raises `AnswerNotPossible`.
        """
        ...


def without_nul(text: str) -> str:
    """PostgreSQL keeps every character but this one."""
    return text.replace("\0", "\ufffd")


def title_of(text: str) -> str:
    """A session's title: the beginning of its first message, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"

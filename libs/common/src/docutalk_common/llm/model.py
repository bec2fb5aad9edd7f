"""What a service asks of a language model, whoever serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from docutalk_common.errors import DocuTalkError

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com/v1/"
"""Anthropic answers OpenAI's chat completions there."""


class ModelError(DocuTalkError):
    """A model gave no (whole) answer. `code` is one of `model_unavailable`, `model_timeout`, `model_rate_limited`,
    `model_unauthorized`, `model_rejected` (the request), `model_interrupted` (in the middle of an answer)."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class ModelMessage:
    """One message of a conversation, in OpenAI's roles."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served. Without `model` the first one that the endpoint lists is used, as local servers have one."""

    base_url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    connect_timeout: float = 5.0
    silence_timeout: float = 60.0
    """Seconds without a byte after which an answer is given up; local models may think long before the first word."""

    @classmethod
    def choose(
        cls,
        *,
        base_url: str | None,
        model: str | None,
        api_key: str | None,
        openai_api_key: str | None = None,
        anthropic_api_key: str | None = None,
    ) -> Endpoint | None:
        """The endpoint that the settings mean, or None when they name none. An address of its own comes first, then the
        providers whose usual key is set."""
        if base_url:
            usual = anthropic_api_key if base_url.startswith(ANTHROPIC.rstrip("/")) else openai_api_key
            return cls(base_url, model, api_key or usual)
        if api_key or openai_api_key:
            return cls(OPENAI, model or "gpt-4.1-mini", api_key or openai_api_key)
        if anthropic_api_key:
            return cls(ANTHROPIC, model or "claude-haiku-4-5", anthropic_api_key)
        return None


class LanguageModel(Protocol):
    """A chat model."""

    def stream(self, messages: Sequence[ModelMessage]) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """One answer as pieces of text, as they come. Leaving the block ends the request at the model, also in the middle.

        Raises `ModelError`, on entering or while iterating. Nothing is tried twice: the caller knows whether that is wanted.
        """
        ...

    async def complete(self, messages: Sequence[ModelMessage]) -> str:
        """One whole answer. Raises `ModelError`."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...

"""What a service asks of a language model, whoever serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlsplit

from docutalk_common.errors import DocuTalkError

ProviderName = Literal["openai", "anthropic", "ollama"]
"""Whose wire format an endpoint speaks; `openai` is any endpoint compatible with OpenAI's chat completions."""

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"


class ModelError(DocuTalkError):
    """A model gave no (whole) answer. `code` is one of `model_unavailable`, `model_timeout`, `model_rate_limited`,
    `model_unauthorized`, `model_rejected` (the request), `model_interrupted` (in the middle of an answer),
    `model_context_exceeded` (the prompt is longer than the model takes).

    `retry_after` is in seconds, where it is known when asking again makes sense.
    """

    def __init__(self, code: str, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True)
class ModelMessage:
    """One message of a conversation, in OpenAI's roles."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ModelOptions:
    """What one request wants otherwise than usual. None leaves it to the endpoint."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    """The most tokens that the answer may have."""


USUAL = ModelOptions()


@dataclass(frozen=True)
class ModelUsage:
    """What requests took. `cost_usd` is None where the price of the model is not known, and for a model of one's own."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None

    def __add__(self, other: ModelUsage) -> ModelUsage:
        """Both together, under the name of the first. A sum with an unknown cost has an unknown cost."""
        unknown = self.cost_usd is None or other.cost_usd is None
        return ModelUsage(
            self.model,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )

    def __radd__(self, _: int) -> ModelUsage:
        """The start of `sum`, which is 0."""
        return self


class ModelStream(Protocol):
    """One answer on its way. Iterating gives its pieces of text, none of them empty."""

    @property
    def usage(self) -> ModelUsage | None:
        """None until the end, and when the endpoint does not tell."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether the model ended because it may write no more."""
        ...

    def __aiter__(self) -> AsyncIterator[str]: ...


@dataclass(frozen=True)
class Completion:
    """One whole answer."""

    text: str
    usage: ModelUsage | None


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served. Without `model` the first one that the endpoint lists is used, as local servers have one."""

    base_url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    provider: ProviderName = "openai"
    context_tokens: int | None = None
    """Tokens that the model takes, prompt and answer together; None asks what is known of it."""
    connect_timeout: float = 5.0
    silence_timeout: float = 60.0
    """Seconds without a byte after which an answer is given up; local models may think long before the first word."""
    retry_delays: tuple[float, ...] = (0.5, 2.0)
    """Seconds before each further try of a request that failed before its first word."""
    breaker_threshold: int = 5
    """After so many failures in a row the endpoint is left alone for a while."""
    breaker_seconds: float = 30.0

    @property
    def host(self) -> str:
        """The host and port for messages, without the name and password that an address may hold."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2] or "an address without http://"

    @classmethod
    def choose(
        cls,
        *,
        provider: ProviderName | None = None,
        base_url: str | None,
        model: str | None,
        api_key: str | None,
        openai_api_key: str | None = None,
        anthropic_api_key: str | None = None,
        context_tokens: int | None = None,
    ) -> Endpoint | None:
        """The endpoint that the settings mean, or None when they name none. An address of its own comes first, then the
        providers whose usual key is set; `provider` leaves only that one. Ollama without an address is for `detect_ollama`.
        """
        if base_url:
            spoken = provider or ("anthropic" if urlsplit(base_url).hostname == urlsplit(ANTHROPIC).hostname else "openai")
            usual = {"openai": openai_api_key, "anthropic": anthropic_api_key}.get(spoken)
            return cls(base_url, model, api_key or usual, spoken, context_tokens)
        if provider in (None, "openai") and (key := api_key or openai_api_key):
            return cls(OPENAI, model or "gpt-4.1-mini", key, "openai", context_tokens)
        # A key that says not whose it is means OpenAI, unless the provider is named.
        if provider in (None, "anthropic") and (key := api_key or anthropic_api_key):
            return cls(ANTHROPIC, model or "claude-haiku-4-5", key, "anthropic", context_tokens)
        return None


class LanguageModel(Protocol):
    """A chat model."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is served."""
        ...

    def stream(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> AbstractAsyncContextManager[ModelStream]:
        """One answer as pieces of text, as they come. Leaving the block ends the request at the model, also in the middle.

        Raises `ModelError`, on entering or while iterating.
        """
        ...

    async def complete(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> Completion:
        """One whole answer, sent in one piece. Raises `ModelError`."""
        ...

    async def models(self) -> list[str]:
        """The names that the endpoint lists. Raises `ModelError`."""
        ...

    async def default_model(self) -> str:
        """The model that answers when a request names none. Raises `ModelError` when it has to be asked for."""
        ...

    async def context_tokens(self, model: str | None = None) -> int:
        """Tokens that this model, or the default one, takes. A cautious guess where nobody knows; raises nothing."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...

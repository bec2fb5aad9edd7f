"""What models behind different wire formats have in common."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, AsyncIterator

from docutalk_common.llm import ollama, prices
from docutalk_common.llm.model import Endpoint, ModelError, ModelUsage

UNKNOWN_CONTEXT = 8192
"""For a model of which nothing is known; few that answer questions take less."""


class ModelAtEndpoint(abc.ABC):
    """The model that answers by default, and how much it takes."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._host = endpoint.host
        self._default = endpoint.model

    @property
    def endpoint(self) -> Endpoint:
        """Where it is served."""
        return self._endpoint

    @abc.abstractmethod
    async def models(self) -> list[str]:
        """The names that the endpoint lists. Raises `ModelError`."""

    async def default_model(self) -> str:
        """See `LanguageModel`. The list is asked for once."""
        if self._default is None:
            writing = [name for name in await self.models() if not ollama.is_embedding_model(name)]
            if not writing:
                raise ModelError(
                    "model_rejected", f"{self._host} lists no model that answers. Set DOCUTALK_LLM_MODEL to the one to use."
                )
            self._default = writing[0]
        return self._default

    async def context_tokens(self, model: str | None = None) -> int:
        """See `LanguageModel`."""
        if self._endpoint.context_tokens is not None:
            return self._endpoint.context_tokens
        try:
            name = model or await self.default_model()
            known = prices.context_window(self._endpoint, name) or await self._context_told(name)
        except ModelError:
            known = None
        return known or (ollama.DEFAULT_CONTEXT if self._endpoint.provider == "ollama" else UNKNOWN_CONTEXT)

    async def _context_told(self, model: str) -> int | None:
        """What the endpoint itself tells of a model that nobody knows. Raises `ModelError`."""
        return None


class Answer(abc.ABC):
    """A `ModelStream` over the client library's stream. `begun` is whether it has given text."""

    def __init__(self) -> None:
        self.usage: ModelUsage | None = None
        self.truncated = False
        self.begun = False
        self._read = self._texts()

    @abc.abstractmethod
    def _texts(self) -> AsyncGenerator[str]:
        """The pieces of text. Raises `ModelError`; sets the usage."""

    def __aiter__(self) -> AsyncIterator[str]:
        return self._read

    async def close(self) -> None:
        """Reads no further."""
        await self._read.aclose()

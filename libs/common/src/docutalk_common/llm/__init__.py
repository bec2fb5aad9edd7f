"""Language models behind one interface. `connect` picks the implementation from an `Endpoint`."""

from __future__ import annotations

from docutalk_common.llm.model import (
    Completion,
    Endpoint,
    LanguageModel,
    ModelError,
    ModelMessage,
    ModelOptions,
    ModelStream,
    ModelUsage,
    ProviderName,
)

__all__ = [
    "Completion",
    "Endpoint",
    "LanguageModel",
    "ModelError",
    "ModelMessage",
    "ModelOptions",
    "ModelStream",
    "ModelUsage",
    "ProviderName",
    "connect",
    "detect_ollama",
]


def connect(endpoint: Endpoint) -> LanguageModel:
    """A model at that endpoint. Nothing is called before the first question."""
    from docutalk_common.llm.steady import SteadyModel  # noqa: PLC0415

    return SteadyModel(_model(endpoint))


def _model(endpoint: Endpoint) -> LanguageModel:
    # Each client library takes time and memory to import: only who uses one pays for it.
    if endpoint.provider == "anthropic":
        from docutalk_common.llm.anthropic_messages import AnthropicModel  # noqa: PLC0415

        return AnthropicModel(endpoint)
    from docutalk_common.llm.openai_compatible import OpenAICompatibleModel  # noqa: PLC0415

    return OpenAICompatibleModel(endpoint)


async def detect_ollama(host: str | None) -> Endpoint | None:
    """The endpoint of a running Ollama with its newest model that writes text, or None. `host` is as in `OLLAMA_HOST`.

    Waits half a second at most for its answer, and raises nothing.
    """
    from docutalk_common.llm.ollama import detect_ollama  # noqa: PLC0415

    return await detect_ollama(host)

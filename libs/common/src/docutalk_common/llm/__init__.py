"""Language models behind one interface. `connect` picks the implementation from an `Endpoint`."""

from __future__ import annotations

from docutalk_common.llm.model import Endpoint, LanguageModel, ModelError, ModelMessage

__all__ = ["Endpoint", "LanguageModel", "ModelError", "ModelMessage", "connect"]


def connect(endpoint: Endpoint) -> LanguageModel:
    """A model at that endpoint. Nothing is called before the first question."""
    # The client library takes half a second and 40 MB to import: only who has a model pays for it.
    from docutalk_common.llm.openai_compatible import OpenAICompatibleModel  # noqa: PLC0415

    return OpenAICompatibleModel(endpoint)

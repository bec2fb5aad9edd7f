"""What models cost and take, from the data inside of the genai-prices package: nothing is looked up over the network."""

from __future__ import annotations

import contextlib

from genai_prices import Usage, calc_price
from genai_prices.types import PriceCalculation

from docutalk_common.llm.model import Endpoint, ModelUsage


def usage_of(
    endpoint: Endpoint, model: str, *, input_tokens: object, output_tokens: object, cached_tokens: object = None
) -> ModelUsage:
    """The usage of one request with its cost. `cached_tokens` are those of the input that were read from a cache.

    What is no count is 0: the client libraries pass on what an endpoint sends, and no answer fails for its price.
    """
    asked, answered = _count(input_tokens), _count(output_tokens)
    usage = Usage(input_tokens=asked, output_tokens=answered, cache_read_tokens=min(_count(cached_tokens), asked))
    found = _calculated(endpoint, model, usage)
    return ModelUsage(model, asked, answered, None if found is None else float(found.total_price))


def context_window(endpoint: Endpoint, model: str) -> int | None:
    """The tokens that a model takes, or None when it is not known."""
    found = _calculated(endpoint, model, Usage())
    return None if found is None else found.model.context_window


def _calculated(endpoint: Endpoint, model: str, usage: Usage) -> PriceCalculation | None:
    """By the provider whose address it is. Behind another address, as a company's proxy has one, only the models of OpenAI and
    Anthropic are known by name: the open ones that others sell cost nothing where somebody runs them."""
    if endpoint.provider == "ollama":
        return None
    with contextlib.suppress(LookupError, ValueError):
        return calc_price(usage, model, provider_api_url=endpoint.base_url)
    for provider in ("openai", "anthropic"):
        with contextlib.suppress(LookupError, ValueError):
            return calc_price(usage, model, provider_id=provider)
    return None


def _count(told: object) -> int:
    return told if isinstance(told, int) and told > 0 else 0

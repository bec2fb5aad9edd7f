"""The endpoint that settings mean, and what usages add up to."""

from __future__ import annotations

from typing import Any

import pytest
from docutalk_common.llm import Endpoint, ModelUsage
from docutalk_common.llm.model import ANTHROPIC, OPENAI


def choose(**given: Any) -> Endpoint | None:
    names = ("base_url", "model", "api_key")
    return Endpoint.choose(**dict.fromkeys(names) | given)


def chosen(**given: Any) -> tuple[str, str | None, str | None, str]:
    endpoint = choose(**given)
    assert endpoint is not None
    return endpoint.base_url, endpoint.model, endpoint.api_key, endpoint.provider


OWN = "http://127.0.0.1:8080/v1"


def test_no_settings_mean_no_model() -> None:
    assert choose() is None
    assert choose(model="x") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"base_url": OWN, "model": "m", "anthropic_api_key": "a"}, (OWN, "m", None, "openai")),
        ({"base_url": OWN, "openai_api_key": "o"}, (OWN, None, "o", "openai")),
        ({"base_url": OWN, "api_key": "k", "openai_api_key": "o"}, (OWN, None, "k", "openai")),
        ({"base_url": OWN, "provider": "anthropic", "anthropic_api_key": "a"}, (OWN, None, "a", "anthropic")),
        ({"base_url": OWN, "provider": "ollama", "openai_api_key": "o"}, (OWN, None, None, "ollama")),
    ],
)
def test_own_address_comes_before_the_keys_of_providers(given: Any, expected: Any) -> None:
    assert chosen(**given) == expected


@pytest.mark.parametrize("base_url", [ANTHROPIC, f"{ANTHROPIC}/v1/", f"{ANTHROPIC}/v1"])
def test_address_of_anthropic_means_its_own_format_unless_told_otherwise(base_url: str) -> None:
    assert chosen(base_url=base_url, anthropic_api_key="a", openai_api_key="o") == (base_url, None, "a", "anthropic")
    assert chosen(base_url=base_url, api_key="k", provider="openai") == (base_url, None, "k", "openai")
    assert chosen(base_url="https://api.anthropic.com.example/v1", openai_api_key="o")[3] == "openai"


@pytest.mark.parametrize(
    ("given", "base_url", "key", "provider"),
    [
        ({"openai_api_key": "o"}, OPENAI, "o", "openai"),
        ({"api_key": "k"}, OPENAI, "k", "openai"),
        ({"openai_api_key": "o", "anthropic_api_key": "a"}, OPENAI, "o", "openai"),
        ({"anthropic_api_key": "a"}, ANTHROPIC, "a", "anthropic"),
        ({"openai_api_key": "o", "anthropic_api_key": "a", "provider": "anthropic"}, ANTHROPIC, "a", "anthropic"),
        ({"api_key": "k", "provider": "anthropic"}, ANTHROPIC, "k", "anthropic"),
        ({"anthropic_api_key": "a", "openai_api_key": "o", "provider": "openai"}, OPENAI, "o", "openai"),
    ],
)
def test_key_alone_is_enough(given: Any, base_url: str, key: str, provider: str) -> None:
    usual = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5"}[provider]
    assert chosen(**given) == (base_url, usual, key, provider)
    assert chosen(**given, model="m") == (base_url, "m", key, provider)


def test_provider_without_what_it_needs_is_no_model() -> None:
    assert choose(provider="openai", anthropic_api_key="a") is None
    assert choose(provider="anthropic", openai_api_key="o") is None
    assert choose(provider="ollama", api_key="k", openai_api_key="o", anthropic_api_key="a") is None


def test_context_that_is_set_reaches_the_endpoint() -> None:
    for given in ({"base_url": OWN}, {"openai_api_key": "o"}, {"anthropic_api_key": "a"}):
        endpoint = choose(**given, context_tokens=5)
        assert endpoint is not None
        assert endpoint.context_tokens == 5


def test_key_is_not_in_the_representation() -> None:
    assert "hidden" not in repr(Endpoint("http://x/v1", api_key="hidden"))


def test_usages_add_up_and_an_unknown_cost_stays_unknown() -> None:
    known, unknown = ModelUsage("m", 1, 2, 0.5), ModelUsage("m", 10, 20, None)
    assert sum([known, known, known]) == ModelUsage("m", 3, 6, 1.5)
    assert known + unknown == unknown + known == ModelUsage("m", 11, 22, None)
    assert unknown + unknown == ModelUsage("m", 20, 40, None)

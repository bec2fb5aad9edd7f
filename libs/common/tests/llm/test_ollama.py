"""Ollama is found, with a model that writes, and tells what it gives that model."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from docutalk_common.llm import Endpoint, connect, detect_ollama
from docutalk_common.process import wait_until
from docutalk_common.testing.http_server import serving
from docutalk_common.testing.llm_server import ScriptedModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from .asking import HELLO, Connect, pieces_of


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel(ollama=True, models=["llama3.2:3b", "qwen3:8b", "nomic-embed-text:latest"]) as server:
        yield server


@pytest.mark.parametrize("form", ["{url}", "{url}/", "127.0.0.1:{port}", " 0.0.0.0:{port}", "http://0.0.0.0:{port}", ":{port}"])
async def test_running_ollama_is_found_with_its_newest_model_that_writes(server: ScriptedModel, form: str) -> None:
    port = server.root_url.rpartition(":")[2]
    endpoint = Endpoint(server.base_url, "qwen3:8b", provider="ollama")

    async def found() -> bool:  # it has half a second to answer
        return await detect_ollama(form.format(url=server.root_url, port=port)) == endpoint

    await wait_until(found, seconds=20, what="it is found")
    model = connect(endpoint)
    assert await pieces_of(model) == ["Yes."]
    await model.close()
    assert server.requests[0].body["model"] == "qwen3:8b"


async def test_ollama_with_only_embedding_models_is_none(server: ScriptedModel) -> None:
    server.models = ["nomic-embed-text:latest", "all-minilm:latest"]
    assert await detect_ollama(server.root_url) is None
    server.models = []
    assert await detect_ollama(server.root_url) is None


@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "no such host", "http://[::", "127.0.0.1:99999999", "ftp://x:1"])
async def test_ollama_that_does_not_run_is_none(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert await detect_ollama(host.format(port=port)) is None


async def test_ollama_that_hangs_is_waited_for_half_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert await detect_ollama(f"127.0.0.1:{silent.getsockname()[1]}") is None
    assert 0.4 < time.monotonic() - started < 3


async def detected(tags: Any) -> str | None:
    """The model that is chosen from such an answer. It has half a second: what is not found is looked for again."""
    routes = [Route("/api/tags", lambda _: JSONResponse(tags))]
    async with serving(Starlette(routes=routes)) as url:
        endpoint = await detect_ollama(url) or await detect_ollama(url) or await detect_ollama(url)
    return endpoint.model if endpoint else None


async def test_capabilities_and_families_say_more_than_names() -> None:
    assert await detected({"models": [{"name": "vectors", "capabilities": ["embedding"]}]}) is None
    assert await detected({"models": [{"name": "vectors", "details": {"family": "nomic-bert"}}]}) is None
    assert await detected({"models": [{"name": "embed-er", "capabilities": ["completion"]}]}) == "embed-er"
    assert await detected({"models": [{"name": "plain"}]}) == "plain"


@pytest.mark.parametrize("tags", [[], {"models": None}, {"models": [{"name": 5}]}, {"models": [{}]}, "text"])
async def test_another_server_at_that_address_is_none(tags: Any) -> None:
    assert await detected(tags) is None


async def test_context_is_what_ollama_gives_the_model(server: ScriptedModel, connected: Connect) -> None:
    # The address is Ollama's own one, without the version of OpenAI's.
    model = connected(provider="ollama", base_url=server.root_url, model="qwen3:8b", api_key=None)
    assert await pieces_of(model) == ["Yes."]
    assert await model.context_tokens() == 4096

    async def becomes(tokens: int, name: str | None = None) -> None:
        async def is_told() -> bool:  # it has half a second to answer
            return await model.context_tokens(name) == tokens

        await wait_until(is_told, seconds=20, what=f"{tokens} tokens")

    server.parameters = "stop           <|im_end|>\nnum_ctx                        16384"
    await becomes(16384)
    # The model itself takes no more.
    server.parameters = "num_ctx 1000000"
    await becomes(131072)
    server.running = {"qwen3:8b": 32768, "other:latest": 2048}
    await becomes(32768)
    await becomes(2048, "other")
    assert await model.context_tokens("unknown") == 4096


async def test_context_of_an_ollama_that_hangs_is_the_default_soon(connected: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = connected(provider="ollama", base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        async with asyncio.timeout(5):
            assert await model.context_tokens() == 4096


async def test_model_that_runs_here_costs_nothing_that_is_known_whatever_its_name(connected: Connect) -> None:
    model = connected(provider="ollama", model="gpt-4.1-mini")
    usage = (await model.complete(HELLO)).usage
    assert usage is not None
    assert usage.cost_usd is None
    assert await model.context_tokens() == 4096

"""What the chain adds to a language model's first token.

    python benchmarks/chat.py [--turns N]

A scripted model behind OpenAI's wire format answers at once. Each turn is asked of it directly and through the whole
chain (HTTP, outbox, JetStream, chat, retrieval, token frames, SSE), in turns, so that both see the same machine. Retrieval
is measured apart, as a search for the same question through the API, and taken off (goal: under 30 ms more).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import Person, running_system

QUESTION = "How high was the lighthouse of Alexandria?"
ANSWER = "The lighthouse of Alexandria was 103 metres high [1]. " + "It stood for a long time and many people saw it. " * 20


async def _first_line(http: httpx.AsyncClient, url: str, needle: str, **arguments: object) -> float:
    """Seconds until the first line of the stream that holds `needle`; the rest is read too."""
    started = time.perf_counter()
    first = 0.0
    async with http.stream("POST", url, **arguments) as answer:  # type: ignore[arg-type]
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not first and needle in line:
                first = time.perf_counter() - started
    return first


async def _turns(person: Person, model: ScriptedModel, turns: int) -> tuple[list[float], list[float], list[float]]:
    direct, chain, search = [], [], []
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    async with httpx.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {model.api_key}"}) as http:
        for _ in range(turns):
            direct.append(await _first_line(http, f"{model.base_url}/chat/completions", '"content":', json=body))
            started = time.perf_counter()
            await person.search(QUESTION, limit=8)
            search.append(time.perf_counter() - started)
            chain.append(
                await _first_line(
                    person.http,
                    f"/api/v1/workspaces/{person.workspace}/chat",
                    "event: delta",
                    json={"message": QUESTION},
                    headers={"Accept": "text/event-stream"},
                )
            )
    return direct, chain, search


def _p(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


async def _main(turns: int) -> None:
    async with ScriptedModel(default=Reply.text(ANSWER)) as model:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            settings = {
                "DOCUTALK_LLM_BASE_URL": model.base_url,
                "DOCUTALK_LLM_MODEL": "scripted",
                "DOCUTALK_LLM_API_KEY": model.api_key,
            }
            async with running_system(Path(folder) / "home", settings) as system:
                accepted = await system.admin.upload(
                    [("wonders.pdf", make_pdf(["The lighthouse of Alexandria was 103 metres high."]))]
                )
                await system.admin.until_final([accepted[0]["id"]], seconds=60)
                await _turns(system.admin, model, 3)
                direct, chain, search = await _turns(system.admin, model, turns)
    more = [c - d - s for c, d, s in zip(chain, direct, search, strict=True)]
    print(f"{'first token, ms':<46} {'p50':>8} {'p95':>8}")
    for name, values in (("the model directly", direct), ("through the chain", chain), ("a search alone", search)):
        print(f"{name:<46} {_p(values, 0.5):8.1f} {_p(values, 0.95):8.1f}")
    print(f"{'the chain adds, retrieval apart (goal < 30)':<46} {statistics.median(more) * 1000:8.1f} {_p(more, 0.95):8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=50)
    asyncio.run(_main(parser.parse_args().turns))

"""What the chain adds to a language model: to its first token, to its speed, and when hundreds of answers stream at once.

    python benchmarks/chat.py [--only first,speed,streams] [--turns N] [--streams N]

A scripted model behind OpenAI's wire format answers. Whatever is measured through the whole chain (HTTP, outbox, JetStream, chat,
retrieval, token frames, SSE) is asked of the model directly in the same run, with OpenAI's own client.

first    the first token, in turns; retrieval is measured apart, as a search for the same question through the API, and taken
         off (goal: under 30 ms more)
speed    a long answer, at the pace of a fast hosted model and as fast as the model can write (goal: .9 of the direct stream)
streams  rounds of many answers at once, beside as many directly; frames that were lost, and memory of each process after each
         round (goals: none; flat)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats
import psutil
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import TOKENS
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.home import OPERATOR
from docutalk_local.testing.system import Person, System, running_system
from openai import AsyncOpenAI

QUESTION = "How high was the lighthouse of Alexandria?"
ANSWER = "The lighthouse of Alexandria was 103 metres high [1]. " + "It stood for a long time and many people saw it. " * 20
LONG = ["The lighthouse ", "was 103 metres high [1]. ", *("word " for _ in range(2_400))]
ROUNDS = 4
# Of each of many answers: a piece five times a second, as from a machine that many share.
MANY = ["The lighthouse ", "was 103 metres high [1]. ", *(f"word{number} " for number in range(58))]
MANY_DELAY = 0.2


@dataclass
class Setting:
    """The running system and the model beside it."""

    system: System
    person: Person
    model: ScriptedModel
    direct: AsyncOpenAI

    async def ask_directly(self) -> tuple[float, float, int]:
        """Seconds to the first text and to the end of an answer of the model itself, and its characters."""
        started = time.perf_counter()
        first, length = 0.0, 0
        stream = await self.direct.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        async for chunk in stream:
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                first = first or time.perf_counter() - started
                length += len(text)
        return first, time.perf_counter() - started, length

    async def ask_through_the_chain(self, http: httpx.AsyncClient) -> Streamed:
        """The same through the API."""
        started = time.perf_counter()
        streamed = Streamed()
        path = f"/api/v1/workspaces/{self.person.workspace}/chat"
        headers = {"Accept": "text/event-stream"}
        async with http.stream("POST", path, json={"message": QUESTION}, headers=headers) as answer:
            if answer.is_error:
                streamed.error = (await answer.aread()).decode()
                return streamed
            event = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    streamed.take(event, json.loads(line[6:]), time.perf_counter() - started)
        streamed.seconds = time.perf_counter() - started
        return streamed


@dataclass
class Streamed:
    """What a client saw of an answer."""

    text: str = ""
    response: str | None = None
    error: str | None = None
    answer_id: str = ""
    first: float = 0.0
    seconds: float = 0.0

    def take(self, event: str, data: dict[str, Any], after: float) -> None:
        """One event."""
        if event == "start":
            self.text, self.answer_id = "", data["answer_id"]
        elif event == "delta":
            self.first = self.first or after
            self.text += data["text"]
        elif event == "done":
            self.response = data["response"]
        elif event == "error":
            self.error = f"{data['code']}: {data['reason']}"


def _p(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def _first(setting: Setting, turns: int) -> None:
    setting.model.default = Reply.text(ANSWER)
    direct, chain, search = [], [], []
    for turn in range(turns + 3):
        first, _, _ = await setting.ask_directly()
        started = time.perf_counter()
        await setting.person.search(QUESTION, limit=10)
        searched = time.perf_counter() - started
        streamed = await setting.ask_through_the_chain(setting.person.http)
        if turn >= 3:  # warm
            direct.append(first)
            search.append(searched)
            chain.append(streamed.first)
    more = [c - d - s for c, d, s in zip(chain, direct, search, strict=True)]
    print(f"{'first token, ms':<62} {'p50':>8} {'p95':>8}")
    for name, values in (("the model directly", direct), ("through the chain", chain), ("a search alone", search), ("", more)):
        told = name or "the chain adds, retrieval apart (goal < 30)"
        print(f"{told:<62} {statistics.median(values) * 1000:8.1f} {_p(values, 0.95) * 1000:8.1f}", flush=True)


async def _speed(setting: Setting, turns: int) -> None:
    print(f"\n{'a long answer, pieces a second':<62} {'direct':>8} {'chain':>8} {'ratio':>8}")
    for name, delay in (("at 200 pieces a second", 0.005), ("as fast as the model writes", 0.0)):
        setting.model.default = Reply(LONG, delay=delay)
        ratios, directly, through = [], [], []
        for _ in range(turns):
            _, seconds, _ = await setting.ask_directly()
            streamed = await setting.ask_through_the_chain(setting.person.http)
            assert streamed.response == streamed.text, streamed.error
            directly.append(len(LONG) / seconds)
            through.append(len(LONG) / streamed.seconds)
            ratios.append(seconds / streamed.seconds)
        figures = [statistics.median(values) for values in (directly, through)]
        print(f"{name:<62} {figures[0]:8.0f} {figures[1]:8.0f} {statistics.median(ratios):8.2f}  (goal .9)", flush=True)


def _memory() -> dict[str, float]:
    """MiB of each service's process."""
    found: dict[str, float] = {}
    for process in psutil.Process(os.getpid()).children(recursive=True):
        line = " ".join(process.cmdline())
        for service in ("gateway", "chat", "embed", "ingest"):
            if f"docutalk_{service}" in line and service not in found:
                found[service] = process.memory_info().rss / 2**20
        if "nats-server" in line:
            found["nats"] = process.memory_info().rss / 2**20
    return found


async def _at_once(count: int, ask: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[list[Any], float]:
    started = time.perf_counter()
    answers = await asyncio.gather(*(ask() for _ in range(count)))
    return answers, time.perf_counter() - started


async def _frames_lost(setting: Setting, streams: list[Streamed]) -> tuple[int, int]:
    """Of answers that ended: how many frames are not in the stream, and how many are."""
    stack = setting.system.stack
    connection = await nats.connect(stack.servers.nats_url, user=OPERATOR, password=stack.secrets.nats[OPERATOR])
    lost = sent = 0
    try:
        for streamed in streams:
            subject = f"tok.{setting.person.workspace}.{streamed.answer_id}"
            frames = [json.loads(item.data) for item in await event_log.read(connection, TOKENS, subject)]
            sent += len(frames)
            lost += frames[-1]["index"] + 1 - len(frames)
    finally:
        await connection.close()
    return lost, sent


async def _streams(setting: Setting, count: int) -> None:
    setting.model.default = Reply(MANY, delay=MANY_DELAY)
    whole = "".join(MANY).strip()
    ideal = len(MANY) * MANY_DELAY
    print(f"\n{count} answers at once, {len(MANY)} pieces each, {1 / MANY_DELAY:.0f} a second ({ideal:.0f} s)")
    _, seconds = await _at_once(count, setting.ask_directly)
    print(f"{'of the model directly, seconds until the last has ended':<62} {seconds:8.1f}", flush=True)
    print(f"{'memory, MiB, before':<62} {_told(_memory())}", flush=True)
    limits = httpx.Limits(max_connections=count + 10)
    headers = dict(setting.person.http.headers)
    async with httpx.AsyncClient(
        base_url=setting.person.http.base_url, headers=headers, limits=limits, timeout=120, verify=False
    ) as http:
        for number in range(1, ROUNDS + 1):
            streamed, seconds = await _at_once(count, lambda: setting.ask_through_the_chain(http))
            failed = [one.error or "no end" for one in streamed if one.response is None]
            torn = sum(one.response is not None and not one.text == one.response == whole for one in streamed)
            lost, sent = await _frames_lost(setting, [one for one in streamed if one.response is not None])
            firsts = [one.first for one in streamed]
            told = f"round {number}: seconds · first text p50, p95 · frames · lost · torn · failed"
            figures = f"{seconds:6.1f} · {statistics.median(firsts):.1f}, {_p(firsts, 0.95):.1f} · {sent} · {lost} · {torn}"
            print(f"{told:<62} {figures} · {len(failed)}", flush=True)
            if failed:
                print(f"  for example {failed[0]}")
            print(f"{'  memory, MiB':<62} {_told(_memory())}", flush=True)


def _told(memory: dict[str, float]) -> str:
    return " · ".join(f"{name} {mib:.0f}" for name, mib in sorted(memory.items()))


async def _main(arguments: argparse.Namespace) -> None:
    only = arguments.only.split(",")
    async with ScriptedModel(default=Reply.text(ANSWER)) as model:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            settings = {
                "DOCUTALK_LLM_BASE_URL": model.base_url,
                "DOCUTALK_LLM_MODEL": "scripted",
                "DOCUTALK_LLM_API_KEY": model.api_key,
                "DOCUTALK_CHAT_MESSAGES_PER_MINUTE": "1000000",
            }
            async with running_system(Path(folder) / "home", settings) as system:
                person = system.admin
                accepted = await person.upload([("wonders.pdf", make_pdf(["The lighthouse of Alexandria was 103 metres high."]))])
                await person.until_final([accepted[0]["id"]], seconds=60)
                async with AsyncOpenAI(base_url=model.base_url, api_key=model.api_key, timeout=120) as direct:
                    setting = Setting(system, person, model, direct)
                    if "first" in only:
                        await _first(setting, arguments.turns)
                    if "speed" in only:
                        await _speed(setting, 3)
                    if "streams" in only:
                        await _streams(setting, arguments.streams)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="first,speed,streams")
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--streams", type=int, default=500)
    asyncio.run(_main(parser.parse_args()))

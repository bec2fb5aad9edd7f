"""How fast passages become vectors: the bare model, behind its queue, in the whole service on real servers, and what others use.

    python benchmarks/embedding.py [--passages 512] [--rounds 3] [--queries 200] [--peers PYTHON]

Each round measures all of them one after the other, so that the ratios hold on a noisy machine; the median is printed. `--peers`
names the interpreter of an environment with `benchmarks/requirements.txt`: sentence-transformers and fastembed then embed the
same texts with the same weights in each round. At the end: how long a query takes, alone and while passages are embedded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from docutalk_common.contracts.ingest import Chunk, IndexChunks
from docutalk_common.process import Runtime
from docutalk_common.telemetry import configure_logging
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_embed.adapters.batcher import Lane, MicroBatcher, Vectors
from docutalk_embed.adapters.minilm import MiniLM, model_folder
from docutalk_embed.adapters.processors import available_processors
from docutalk_embed.app import embed, open_database
from docutalk_embed.settings import EmbedSettings
from docutalk_local.testing import TestStack, make_backend
from sqlalchemy import text

MESSAGE = 64
HANDLERS = 4
WORDS = """the of and to in a for that on with as by is are was were company revenue operating income fiscal year increase
decrease committee river harbour pump valve inspection report interest rate borrowing liquidity segment customer""".split()  # noqa: SIM905


def passages(count: int) -> list[str]:
    """Made-up passages of 60 to 250 tokens, most of them long, as chunks are."""
    chance = random.Random(1)
    return [" ".join(chance.choices(WORDS, k=int(60 + 180 * chance.random() ** 0.5))) for _ in range(count)]


def rate(count: int, started: float) -> float:
    """Passages per second since then."""
    return count / (time.perf_counter() - started)


def bare(engine: MiniLM, texts: list[str]) -> float:
    """The model alone, everything sorted by length."""
    started = time.perf_counter()
    engine.embed(texts)
    return rate(len(texts), started)


async def queued(batcher: MicroBatcher, texts: list[str]) -> float:
    """Through the queue, in messages of 64, four at a time as the service handles them."""
    messages = iter([texts[start : start + MESSAGE] for start in range(0, len(texts), MESSAGE)])

    async def handle() -> None:
        for message in messages:
            await batcher.embed(message, Lane.BULK)

    started = time.perf_counter()
    await asyncio.gather(*(handle() for _ in range(HANDLERS)))
    return rate(len(texts), started)


async def served(wire: Wire, settings: EmbedSettings, texts: list[str]) -> float:
    """From work messages on NATS to chunks in PostgreSQL that searches find."""
    db = open_database(settings)
    workspace_id, document_id = uuid4(), uuid4()
    batches = [texts[start : start + MESSAGE] for start in range(0, len(texts), MESSAGE)]
    started = time.perf_counter()
    for number, batch in enumerate(batches):
        work = IndexChunks(
            workspace_id=workspace_id,
            document_id=document_id,
            filename="benchmark.txt",
            content_type="text/plain",
            document_created_at=datetime.now(UTC),
            batch=number,
            batch_count=len(batches),
            chunk_count=len(texts),
            chunks=[
                Chunk(chunk_id=uuid4(), ordinal=number * MESSAGE + place, page=1, start=0, end=len(passage), text=passage)
                for place, passage in enumerate(batch)
            ],
        )
        await wire.send(envelope_for(work))
    while True:
        async with db.read() as session:
            live = await session.scalar(
                text("SELECT live_chunk_count FROM documents WHERE document_id = :document_id"), {"document_id": document_id}
            )
        if live == len(texts):
            break
        await asyncio.sleep(0.02)
    reached = rate(len(texts), started)
    await db.close()
    return reached


class Peers:
    """Other libraries, in a process of their own that waits while it is not asked."""

    def __init__(self, process: subprocess.Popen[str], names: list[str]) -> None:
        self._process = process
        self.names = names

    @classmethod
    @contextlib.contextmanager
    def running(cls, python: str | None) -> Iterator[Peers | None]:
        """Loads them in that interpreter; None without one."""
        if python is None:
            yield None
            return
        script = Path(__file__).with_name("embedding_peers.py")
        with (
            tempfile.TemporaryDirectory() as work,
            subprocess.Popen([python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        ):
            answer = _asked(process, {"model": str(model_folder()), "work": work})
            yield cls(process, answer["peers"])
            assert process.stdin is not None
            process.stdin.close()

    def rate(self, name: str, texts: list[str]) -> float:
        """Passages per second."""
        return len(texts) / float(_asked(self._process, {"peer": name, "texts": texts})["seconds"])

    def vectors(self, name: str, texts: list[str]) -> Vectors:
        """The unit vectors of some texts."""
        found = _asked(self._process, {"peer": name, "texts": texts, "vectors": len(texts)})["vectors"]
        return np.array(found, np.float32)


def _asked(process: subprocess.Popen[str], question: dict[str, object]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit("the peers ended; what they wrote is above")
    found: dict[str, Any] = json.loads(answer)
    return found


class TimedModel:
    """The model, and how long each of its batches took, in milliseconds."""

    def __init__(self, engine: MiniLM) -> None:
        self.name, self.dimension, self.batch = engine.name, engine.dimension, engine.batch
        self.tokenize = engine.tokenize
        self.batches: list[float] = []
        self._engine = engine

    def infer(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """A batch."""
        started = time.perf_counter()
        vectors = self._engine.infer(tokens)
        self.batches.append((time.perf_counter() - started) * 1000)
        return vectors


@dataclass
class Latencies:
    """Milliseconds: of queries alone, of queries while passages are embedded, and of the batches of those."""

    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)


async def ask(batcher: MicroBatcher, count: int, found: list[float]) -> None:
    """So many queries, one after the other with a little time between."""
    chance = random.Random(2)
    for _ in range(count):
        query = " ".join(chance.choices(WORDS, k=8))
        started = time.perf_counter()
        await batcher.embed([query], Lane.QUERY)
        found.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(chance.random() * 0.02)


async def latencies(engine: MiniLM, texts: list[str], count: int) -> Latencies:
    """Queries alone, then while four handlers keep the queue of passages full and a change of model fills its own."""
    found = Latencies()
    timed = TimedModel(engine)
    batcher = MicroBatcher(timed)
    async with batcher.running():
        await ask(batcher, count, found.idle)
        timed.batches.clear()

        async def load(lane: Lane, part: int) -> None:
            while True:
                start = part * MESSAGE % len(texts)
                await batcher.embed(texts[start : start + MESSAGE], lane)

        lanes = (Lane.BULK, Lane.BULK, Lane.EXPRESS, Lane.BACKGROUND)
        loads = [asyncio.create_task(load(lane, part)) for part, lane in enumerate(lanes)]
        while not batcher.waiting(Lane.BULK):
            await asyncio.sleep(0.01)
        await ask(batcher, count, found.busy)
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
    found.batches = timed.batches
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share is not above."""
    return float(np.percentile(values, share * 100))


def features() -> list[str]:
    """What the processor can do that matters here."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
    with contextlib.suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
        return [name for name in wanted if name in flags]
    return []


@dataclass(frozen=True)
class Measured:
    """All figures: passages per second by what was measured, one for each round."""

    rates: dict[str, list[float]]
    latencies: Latencies
    closeness: dict[str, float]
    """Mean cosine between the vectors of the service and those of a peer."""

    def rate(self, name: str) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates[name])

    def ratio(self, name: str, base: str) -> float:
        """The median of the ratios within each round."""
        return statistics.median(a / b for a, b in zip(self.rates[name], self.rates[base], strict=True))


BARE, SINGLE, QUEUED, SERVED = "bare model", "bare model, f32", "behind its queue", "whole service"


async def measure(count: int, rounds: int, queries: int, peers: Peers | None) -> None:
    """Prints the tables."""
    texts = passages(count)
    started = time.perf_counter()
    engine = MiniLM(threads=available_processors())
    load = time.perf_counter() - started
    single = MiniLM(threads=available_processors(), precision="f32")
    lengths = [len(ids) for ids in engine.tokenize(texts)]
    print(
        f"{count} passages of {np.mean(lengths):.0f} tokens; {engine.precision}, {engine.threads} threads, loaded in {load:.2f} s"
    )
    print(f"the processor has {' '.join(features()) or 'none of AVX-512 and AMX'}")
    names = peers.names if peers else []
    rates: dict[str, list[float]] = {name: [] for name in (BARE, SINGLE, QUEUED, SERVED, *names)}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        backend = make_backend(Path(folder))
        await backend.start()
        try:
            stack = await TestStack.provisioned(backend)
            environment = stack.service_environment("embed")
            settings = EmbedSettings.model_validate(
                {name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()}
            )
            wire = await Wire.connect(stack.nats_operator)
            for number in range(rounds):
                rates[BARE].append(bare(engine, texts))
                rates[SINGLE].append(bare(single, texts))
                batcher = MicroBatcher(engine)
                async with batcher.running():
                    rates[QUEUED].append(await queued(batcher, texts))
                async with embed(settings, Runtime("embed"), engine):
                    rates[SERVED].append(await served(wire, settings, texts))
                for name in names:
                    assert peers is not None
                    rates[name].append(peers.rate(name, texts))
                figures = ", ".join(f"{name} {measured[-1]:.1f}" for name, measured in rates.items())
                print(f"round {number + 1}, passages/s: {figures}", flush=True)
            await wire.nc.close()
        finally:
            await backend.stop()
    closeness = {
        name: float((peers.vectors(name, texts[:64]) * engine.embed(texts[:64])).sum(axis=1).mean()) for name in names if peers
    }
    show(Measured(rates, await latencies(engine, texts, queries), closeness), engine.precision)


def show(measured: Measured, precision: str) -> None:
    """The figures, and the goals."""
    print(f"\n{'':<30} {'passages/s':>10}   of the bare model")
    for name in measured.rates:
        close = f"   mean cosine {measured.closeness[name]:.5f}" if name in measured.closeness else ""
        print(f"{name:<30} {measured.rate(name):10.1f}   {measured.ratio(name, BARE):5.2f}{close}")
    found = measured.latencies
    print(f"\n{'milliseconds':<30} {'p50':>8} {'p99':>8}")
    for label, values in (
        ("a query, nothing else", found.idle),
        ("a query, passages all the time", found.busy),
        ("a batch of passages", found.batches),
    ):
        print(f"{label:<30} {percentile(values, 0.5):8.1f} {percentile(values, 0.99):8.1f}")
    print(f"\n{'goal':<64} {'figure':>8}")
    goals: list[tuple[str, float, str, float | None]] = [("whole service / bare model", measured.ratio(SERVED, BARE), ">=", 0.8)]
    peer = next((name for name in measured.rates if name.startswith("sentence-transformers")), None)
    if peer is not None:
        goals.append(("f32 engine / sentence-transformers", measured.ratio(SINGLE, peer), ">=", 1.2))
        if precision == "bf16":
            goal = 4.5 if "amx_bf16" in features() else None
            goals.append(("bf16 engine / sentence-transformers", measured.ratio(BARE, peer), ">=", goal))
    waits = percentile(found.batches, 0.99) + percentile(found.idle, 0.99)
    goals.append(
        ("p99 of a query while passages come / (a batch + a query alone)", percentile(found.busy, 0.99) / waits, "<=", 1.1)
    )
    for name, figure, sign, goal in goals:
        if goal is None:
            print(f"{name + ' (>= 4.5 with AMX, which is not here)':<64} {figure:8.2f}")
        else:
            met = figure >= goal if sign == ">=" else figure <= goal
            print(f"{f'{name} {sign} {goal}':<64} {figure:8.2f}  {'met' if met else 'missed'}")


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with benchmarks/requirements.txt")
    arguments = parser.parse_args()
    configure_logging("benchmark", log_format="text", level="ERROR")
    with Peers.running(arguments.peers) as peers:
        asyncio.run(measure(arguments.passages, arguments.rounds, arguments.queries, peers))


if __name__ == "__main__":
    main()

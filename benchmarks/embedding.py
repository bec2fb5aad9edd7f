"""How fast passages become vectors: the bare model, behind its queue, and in the whole service on real servers.

    python benchmarks/embedding.py [--passages 512] [--rounds 3]

Each round measures all of them one after the other, so that the ratios hold on a noisy machine; the median is printed.
Goal: the service at .8 of the bare model or more. With sentence-transformers installed, that is a baseline too.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import os
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from docutalk_common.contracts.ingest import Chunk, IndexChunks
from docutalk_common.process import Runtime
from docutalk_common.telemetry import configure_logging
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_embed.adapters.batcher import Lane, MicroBatcher
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


def sentence_transformers(texts: list[str]) -> float | None:
    """What peers use, when it is installed here."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    model = importlib.import_module("sentence_transformers").SentenceTransformer(str(model_folder()), device="cpu")
    model.encode(texts[:8])
    started = time.perf_counter()
    model.encode(texts)
    return rate(len(texts), started)


async def measure(count: int, rounds: int) -> None:
    """Prints the table."""
    texts = passages(count)
    started = time.perf_counter()
    engine = MiniLM(threads=available_processors())
    load = time.perf_counter() - started
    lengths = [len(ids) for ids in engine.tokenize(texts)]
    print(
        f"{count} passages of {np.mean(lengths):.0f} tokens; {engine.precision}, {engine.threads} threads; loaded in {load:.2f} s"
    )
    results: dict[str, list[float]] = {"bare model": [], "behind its queue": [], "whole service": [], "f32, bare": []}
    single = MiniLM(threads=available_processors(), precision="f32")
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
            for _ in range(rounds):
                results["bare model"].append(bare(engine, texts))
                results["f32, bare"].append(bare(single, texts))
                batcher = MicroBatcher(engine)
                async with batcher.running():
                    results["behind its queue"].append(await queued(batcher, texts))
                async with embed(settings, Runtime("embed"), engine):
                    results["whole service"].append(await served(wire, settings, texts))
                if (peer := sentence_transformers(texts)) is not None:
                    results.setdefault("sentence-transformers, fp32", []).append(peer)
            await wire.nc.close()
        finally:
            await backend.stop()
    base = statistics.median(results["bare model"])
    for name, rates in results.items():
        print(f"{name:<30} {statistics.median(rates):7.1f} passages/s   {statistics.median(rates) / base:5.2f} of the bare model")


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    configure_logging("benchmark", log_format="text", level="ERROR")
    asyncio.run(measure(arguments.passages, arguments.rounds))


if __name__ == "__main__":
    main()

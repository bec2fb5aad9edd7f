"""Whether searches find the right passage: nDCG@10 and recall@100 by words, by meaning and by both, on public collections.

    python benchmarks/retrieval.py [cranfield cisi adi]

One vector for each document, title before text. The collections are not part of this repository (`DOCUTALK_CORPORA`);
without them it says so and ends with 0. Expected within .005 (nDCG@10: meaning, words, both): Cranfield .400, .389, .433;
CISI .421, .334, .431.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from docutalk_common.contracts.embed import SearchMode, SearchPassages
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import Chunk, IndexChunks
from docutalk_common.db import Database
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.telemetry import configure_logging
from docutalk_common.testing.conformance import envelope_for
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.processors import available_processors
from docutalk_embed.app import open_database
from docutalk_embed.settings import EmbedSettings
from docutalk_embed.use_cases.index_chunks import index_chunks
from docutalk_embed.use_cases.search_passages import search_passages
from docutalk_local.testing import TestStack, make_backend

CORPORA = Path(os.environ.get("DOCUTALK_CORPORA", "../shared/data/dev"))
BATCH = 64
DEPTH = 100


@dataclass
class Collection:
    """Documents by id, queries by id, and the relevance of documents to queries."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevance: dict[str, dict[str, int]]

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """The files of BEIR: corpus.jsonl, queries.jsonl, qrels.tsv."""
        documents: dict[str, str] = {}
        queries: dict[str, str] = {}
        relevance: dict[str, dict[str, int]] = {}
        for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            documents[row["_id"]] = f"{row.get('title', '')} {row['text']}".strip()
        for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            queries[row["_id"]] = row["text"]
        for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            query, document, grade = line.split("\t")
            relevance.setdefault(query, {})[document] = int(grade)
        return cls(documents, {key: queries[key] for key in relevance}, relevance)


def ndcg(ranked: list[str], relevance: dict[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002)."""
    gain = sum(relevance.get(document, 0) / math.log2(place + 2) for place, document in enumerate(ranked[:depth]))
    best = sum(grade / math.log2(place + 2) for place, grade in enumerate(sorted(relevance.values(), reverse=True)[:depth]))
    return gain / best if best else 0.0


def recall(ranked: list[str], relevance: dict[str, int]) -> float:
    """Share of the relevant documents that were found."""
    relevant = {document for document, grade in relevance.items() if grade > 0}
    return len(relevant & set(ranked)) / len(relevant) if relevant else 0.0


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """The schema of embed on servers of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        backend = make_backend(Path(folder))
        await backend.start()
        try:
            environment = (await TestStack.provisioned(backend)).service_environment("embed")
            settings = {name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()}
            db = open_database(EmbedSettings.model_validate(settings))
            yield db
            await db.close()
        finally:
            await backend.stop()


async def store(collection: Collection, workspace_id: UUID, db: Database, batcher: MicroBatcher) -> dict[UUID, str]:
    """Indexes every document as one chunk; returns their ids by chunk."""
    ids: dict[UUID, str] = {}
    rows = list(collection.documents.items())
    for start in range(0, len(rows), BATCH):
        chunks = []
        for ordinal, (document, text) in enumerate(rows[start : start + BATCH]):
            chunk_id = uuid4()
            ids[chunk_id] = document
            chunks.append(Chunk(chunk_id=chunk_id, ordinal=ordinal, page=1, start=0, end=len(text), text=text))
        work = IndexChunks(
            workspace_id=workspace_id,
            document_id=uuid7(),
            filename="collection.txt",
            content_type="text/plain",
            document_created_at=datetime.now(UTC),
            batch=0,
            batch_count=1,
            chunk_count=len(chunks),
            chunks=chunks,
        )
        await index_chunks(work, Delivery(envelope_for(work), 1, "benchmark", db), batcher)
    return ids


async def measure(names: list[str]) -> None:
    """Prints the table."""
    engine = MiniLM(threads=available_processors())
    batcher = MicroBatcher(engine)
    async with database() as db, batcher.running():
        print(f"{'collection':<12}{'by':<10}{'nDCG@10':>8}{'recall@100':>12}{'median':>10}{'p95':>10}")
        for name in names:
            collection = Collection.read(CORPORA / "ir" / name)
            workspace_id = uuid4()
            ids = await store(collection, workspace_id, db, batcher)
            for mode in SearchMode:
                gains, recalls, times = [], [], []
                for key, query in collection.queries.items():
                    request = SearchPassages(workspace_id=workspace_id, query=query, limit=DEPTH, mode=mode)
                    found = await search_passages(request, db, batcher)
                    ranked = [ids[passage.chunk_id] for passage in found.passages]
                    gains.append(ndcg(ranked, collection.relevance[key]))
                    recalls.append(recall(ranked, collection.relevance[key]))
                    times.append(found.took_ms)
                print(
                    f"{name:<12}{mode.value:<10}{statistics.mean(gains):8.3f}{statistics.mean(recalls):12.3f}"
                    f"{statistics.median(times):7.1f} ms{statistics.quantiles(times, n=20)[-1]:7.1f} ms",
                    flush=True,
                )


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="*", default=["cranfield", "cisi"])
    names = parser.parse_args().collections
    missing = [name for name in names if not (CORPORA / "ir" / name).is_dir()]
    if missing:
        print(f"not measured: {', '.join(missing)} not in {CORPORA / 'ir'}; set DOCUTALK_CORPORA")
        sys.exit(0)
    configure_logging("benchmark", log_format="text", level="ERROR")
    asyncio.run(measure(names))


if __name__ == "__main__":
    main()

"""Puts made passages into the schema of embed as it is, the quick way: COPY by several processes, indexes built afterwards.

What a search needs to know of the whole (documents, counts of words) is filled in as the service would have it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import numpy as np
from made_passages import Block, Language, Space, Vectors, make_block
from pgvector import HalfVector
from pgvector.asyncpg import register_vector

SHARES = {"80 %": 0.80, "15 %": 0.15, "4 %": 0.04, "1 %": 0.01}
"""Workspaces of very different size."""
BLOCK = 2_000
TYPES = ("application/pdf", "application/pdf", "application/pdf", "text/html", "text/plain")
NEWEST = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 1_000
"""Documents were uploaded in the days before `NEWEST`, one day as likely as another."""
_NAMES = UUID("5d2f7c1e-2a8b-4c55-9a8e-0c6b1e0f7a11")

FINISH = """
INSERT INTO workspaces (workspace_id, chunk_count)
  SELECT workspace_id, sum(live_chunk_count) FROM documents WHERE live_version IS NOT NULL GROUP BY 1;
INSERT INTO configurations SELECT workspace_id, config, count(*) FROM chunks GROUP BY 1, 2;
INSERT INTO lexemes SELECT c.workspace_id, word.lexeme, count(*) FROM chunks c, unnest(c.words) AS word GROUP BY 1, 2
"""


def workspace_of(share: str) -> UUID:
    """The workspace that holds this share."""
    return uuid5(_NAMES, share)


@dataclass(frozen=True)
class Task:
    """A block of passages for one workspace."""

    workspace_id: UUID
    number: int
    passages: int


def tasks_for(size: int) -> Iterator[Task]:
    """All blocks of a collection of that size."""
    number = 0
    for share, part in SHARES.items():
        left = round(size * part)
        while left > 0:
            yield Task(workspace_of(share), number, min(BLOCK, left))
            left -= BLOCK
            number += 1


class Maker:
    """Makes blocks and stores them."""

    def __init__(self, seed: int, topics: Vectors) -> None:
        self._seed = seed
        self.topics = topics
        self.language = Language(seed)
        self._space = Space(seed, topics)

    def block(self, task: Task) -> Block:
        """The same block for the same task."""
        return make_block(self.language, self._space, task.passages, self._random(task, 2))

    def _random(self, task: Task, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, task.number])

    async def store(self, connection: asyncpg.Connection, task: Task, *, live: bool = True) -> list[tuple[UUID, int]]:
        """Documents and passages of the task in one transaction; ids of the documents and their number of passages. Without
        `live` somebody else has to make them live."""
        block, random = self.block(task), self._random(task, 3)
        documents, chunks, vectors, stored = [], [], [], []
        position = 0
        for topic, count in zip(block.topics, block.documents, strict=True):
            document_id = _uuid(random)
            created = NEWEST - timedelta(days=float(random.random()) * DAYS)
            name = " ".join(self.language.words[word] for word in self.language.topics[topic][:3]) + f" {task.number}.pdf"
            kind = TYPES[int(random.integers(len(TYPES)))]
            version = 1 if live else None
            documents.append(
                (
                    document_id,
                    task.workspace_id,
                    1,
                    version,
                    count if live else 0,
                    name,
                    kind,
                    created,
                    created,
                    count,
                    count,
                    1,
                    1,
                    1,
                )
            )
            stored.append((document_id, count))
            for ordinal in range(count):
                place = (_uuid(random), task.workspace_id, document_id, 1)
                text = block.texts[position]
                chunks.append((*place, ordinal, ordinal // 2 + 1, ordinal % 2 * 2000, ordinal % 2 * 2000 + len(text), text))
                vectors.append((*place, HalfVector(block.vectors[position])))
                position += 1
        async with connection.transaction():
            await connection.copy_records_to_table("documents", columns=_DOCUMENT_COLUMNS, records=documents)
            await connection.copy_records_to_table("chunks", columns=_CHUNK_COLUMNS, records=chunks)
            await connection.copy_records_to_table("embeddings_1", columns=_VECTOR_COLUMNS, records=vectors)
        return stored


_DOCUMENT_COLUMNS = [
    "document_id", "workspace_id", "version", "live_version", "live_chunk_count", "filename", "content_type",
    "document_created_at", "named_at", "chunk_count", "chunks_done", "batch_count", "batches_done", "attempt",
]  # fmt: skip
_CHUNK_COLUMNS = [
    "chunk_id", "workspace_id", "document_id", "version", "ordinal", "page", "start_offset", "end_offset", "text",
]  # fmt: skip
_VECTOR_COLUMNS = ["chunk_id", "workspace_id", "document_id", "version", "embedding"]


def _uuid(random: np.random.Generator) -> UUID:
    return UUID(bytes=random.bytes(16), version=4)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A bare connection to the schema of embed."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "embed, public"}, command_timeout=None)
    try:
        await register_vector(connection)
        yield connection
    finally:
        await connection.close()


_worker: dict[str, Any] = {}


def _begin(dsn: str, seed: int, topics: Vectors) -> None:
    _worker.update(dsn=dsn, maker=Maker(seed, topics))


def _store(task: Task) -> int:
    async def store() -> None:
        async with connected(_worker["dsn"]) as connection:
            await _worker["maker"].store(connection, task)

    asyncio.run(store())
    return task.passages


async def load(app_dsn: str, owner_dsn: str, size: int, seed: int, topics: Vectors) -> dict[str, float]:
    """Fills an empty schema. Seconds for each step."""
    seconds: dict[str, float] = {}
    workers = os.cpu_count() or 1
    async with connected(owner_dsn) as owner:
        indexes = await owner.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'embed' AND tablename IN ('chunks', 'embeddings_1')"
            " AND indexname NOT LIKE '%_pkey' ORDER BY indexname"
        )
        for index in indexes:
            await owner.execute(f"DROP INDEX {index['indexname']}")
        started = time.perf_counter()
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawning, _begin, (app_dsn, seed, topics)) as pool:
            loop = asyncio.get_running_loop()
            done = 0
            for part in asyncio.as_completed([loop.run_in_executor(pool, _store, task) for task in tasks_for(size)]):
                done += await part
                if done % 20_000 < BLOCK:
                    print(f"  {done:,} passages after {time.perf_counter() - started:.0f} s", flush=True)
        seconds["passages, by COPY"] = time.perf_counter() - started
        await owner.execute("SET maintenance_work_mem = '3GB'")
        await owner.execute(f"SET max_parallel_maintenance_workers = {workers}")
        for index in indexes:
            started = time.perf_counter()
            await owner.execute(index["indexdef"])
            seconds[f"index {index['indexname']}"] = time.perf_counter() - started
            print(f"  {index['indexname']} built in {time.perf_counter() - started:.0f} s", flush=True)
        started = time.perf_counter()
        await owner.execute("SET work_mem = '512MB'")
        for statement in FINISH.split(";\n"):
            await owner.execute(statement)
        seconds["counts of words"] = time.perf_counter() - started
        for table in ("documents", "chunks", "embeddings_1", "lexemes", "workspaces", "configurations"):
            await owner.execute(f"VACUUM (ANALYZE) {table}")
    return seconds

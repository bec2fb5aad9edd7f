"""How long searches take, and what they miss, in collections of 10,000, 100,000 and 1,000,000 passages.

    python benchmarks/search.py [--sizes 10000,100000,1000000] [--queries 100] [--keep DIR] [--only search,recall,…]

Passages are made (made_passages.py) and lie in four workspaces with 80, 15, 4 and 1 % of them. Searches go to the embed service
over NATS, as the gateway's do; beside each, in turns, the same SQL runs bare on one connection after the bare model has embedded
the query. Then: filters, searches while documents are stored and deleted, and while the index is built anew. With --keep a
collection that lies in that folder is measured again instead of being made; what a measurement stores, it deletes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import nats
import numpy as np
import psutil
from docutalk_common.contracts.embed import PassagesFound, SearchFilters, SearchMode, SearchPassages
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.messaging.topology import inbox_prefix
from docutalk_common.telemetry import configure_logging
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.adapters.document_repository import DocumentRepository
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.adapters.processors import available_processors
from docutalk_embed.app import open_database
from docutalk_embed.settings import EmbedSettings
from docutalk_embed.use_cases.search_passages import search_passages
from docutalk_local.environment import role_dsn, service_environment
from docutalk_local.home import Home
from docutalk_local.ports import free_port
from docutalk_local.stack import LocalStack, Options
from made_passages import Language
from passage_load import DAYS, NEWEST, SHARES, Maker, Task, connected, load, workspace_of
from sqlalchemy import event
from sqlalchemy.engine import Engine

SEED = 20
LARGE, SMALL = "80 %", "1 %"
UNFILTERED = SearchFilters()
GUEST = "stored and deleted again"
PARTS = ("search", "recall", "filters", "storing", "deleting", "rebuilding")
GOALS = {"ratio": 1.5, "growth": 2.0, "recall": 0.98}
MEBIBYTE = 1 << 20

Statements = list[tuple[str, tuple[Any, ...]]]


@dataclass
class Report:
    """Rows as they come, and the figures that goals speak of, by size."""

    size: int = 0
    medians: dict[int, float] = field(default_factory=dict)
    ratios: dict[int, float] = field(default_factory=dict)
    recalls: dict[str, float] = field(default_factory=dict)

    def add(self, measure: str, figure: str) -> None:
        print(f"{self.size:>9,}  {measure:<64} {figure}", flush=True)

    def goals(self) -> bool:
        """The table of goals. Whether all are met."""
        rows = [
            (f"{size:,}: search / the same SQL and the embedding", ratio, "<=", GOALS["ratio"])
            for size, ratio in self.ratios.items()
        ]
        sizes = sorted(self.medians)
        rows += [
            (f"p50 at {larger:,} / at {smaller:,}", self.medians[larger] / self.medians[smaller], "<=", GOALS["growth"])
            for smaller, larger in itertools.pairwise(sizes)
            if smaller >= 100_000
        ]
        rows += [(f"recall@10, {what}", recall, ">=", GOALS["recall"]) for what, recall in self.recalls.items()]
        print(f"\n{'goal':<60}{'figure':>8}")
        met = True
        for what, figure, sign, goal in rows:
            kept = figure <= goal if sign == "<=" else figure >= goal
            met = met and kept
            print(f"{what:<60}{figure:>8.3f}  {sign} {goal:g}{'' if kept else '  MISSED'}")
        return met


def middle(times: Sequence[float]) -> str:
    """Median and 95th percentile, in milliseconds."""
    return f"p50 {statistics.median(times):7.1f} ms   p95 {statistics.quantiles(times, n=20)[-1]:7.1f} ms"


@dataclass
class Bench:
    """Everything that a measurement needs."""

    stack: LocalStack
    engine: MiniLM
    registry: ModelRegistry
    maker: Maker
    db: Database
    bare: asyncpg.Connection
    requests: RequestClient
    owner_dsn: str
    queries: list[str]
    report: Report

    def request(self, query: str, mode: SearchMode, share: str, filters: SearchFilters, limit: int = 10) -> SearchPassages:
        return SearchPassages(
            workspace_id=workspace_of(share), query=query, mode=mode, filters=filters, limit=limit, merge=limit != 10
        )

    async def ask(self, request: SearchPassages) -> tuple[PassagesFound, float]:
        """Through the service; milliseconds."""
        started = time.perf_counter()
        found = await self.requests.ask("rpc.embed.v1.passage.search", request, PassagesFound, timeout=60)
        return found, (time.perf_counter() - started) * 1000

    async def times(
        self, mode: SearchMode = SearchMode.HYBRID, share: str = LARGE, filters: SearchFilters = UNFILTERED
    ) -> list[float]:
        """Of every query, one after the other."""
        return [(await self.ask(self.request(query, mode, share, filters)))[1] for query in self.queries]

    async def statements(self, request: SearchPassages) -> Statements:
        """The SQL of a search, as the driver gets it."""
        seen: Statements = []

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
            seen.append((statement, tuple(parameters)))

        event.listen(Engine, "before_cursor_execute", note)
        try:
            await search_passages(request, self.db, self.registry)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return seen

    async def run_bare(self, query: str, mode: SearchMode, statements: Statements) -> float:
        """The model, where it is needed, and the SQL, and nothing around them; milliseconds."""
        started = time.perf_counter()
        if mode is not SearchMode.KEYWORD:
            self.engine.embed([query])
        async with self.bare.transaction():
            for statement, parameters in statements:
                await self.bare.fetch(statement, *parameters)
        return (time.perf_counter() - started) * 1000

    async def exact(self, query: str, share: str, filters: str = "true") -> list[UUID]:
        """The ten nearest, by looking at every vector."""
        [vector] = self.engine.embed([query])
        literal = "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]"
        found = await self.bare.fetch(
            "SELECT e.chunk_id FROM documents d"
            " JOIN embeddings_1 e ON e.document_id = d.document_id AND e.version = d.live_version"
            f" WHERE e.workspace_id = $1 AND {filters} ORDER BY -(e.embedding <#> (SELECT $2::text::halfvec)) DESC LIMIT 10",
            workspace_of(share),
            literal,
        )
        return [row["chunk_id"] for row in found]


async def search(bench: Bench) -> None:
    """Each mode in the largest and the smallest workspace, in turns with the bare one."""
    for share in (LARGE, SMALL):
        for mode in SearchMode:
            ours, bare = [], []
            for query in bench.queries:
                request = bench.request(query, mode, share, UNFILTERED)
                statements = await bench.statements(request)
                bare.append(await bench.run_bare(query, mode, statements))
                ours.append((await bench.ask(request))[1])
            ratio = statistics.median(ours) / statistics.median(bare)
            bench.report.add(
                f"{mode.value} in {share}", f"{middle(ours)}   bare p50 {statistics.median(bare):.1f} ms, ratio {ratio:.2f}"
            )
            if share == LARGE and mode is SearchMode.HYBRID:
                bench.report.medians[bench.report.size] = statistics.median(ours)
                bench.report.ratios[bench.report.size] = ratio
    common = [" ".join(words) for words in zip(_COMMON, _COMMON[1:], _COMMON[2:], strict=False)]
    times = [(await bench.ask(bench.request(query, SearchMode.KEYWORD, LARGE, UNFILTERED)))[1] for query in common]
    bench.report.add("keyword, nothing but words that a third of the passages have", middle(times))
    times = [(await bench.ask(bench.request(query, SearchMode.HYBRID, LARGE, UNFILTERED, 100)))[1] for query in bench.queries]
    bench.report.add("hybrid, 100 results, neighbours joined", middle(times))
    computing = await _computing(bench)
    bench.report.add("computing for a hybrid search", "   ".join(f"{name} {took:.1f} ms" for name, took in computing.items()))
    bench.report.add("memory", "   ".join(f"{name} {size // MEBIBYTE:,} MiB" for name, size in _memory(bench).items()))


# Frequent, and no stop words: their topics aside, every passage may have them.
_COMMON = (
    "first",
    "one",
    "also",
    "two",
    "time",
    "new",
    "would",
    "could",
    "like",
    "back",
    "years",
    "world",
    "know",
    "city",
    "people",
)


def _processes(bench: Bench) -> dict[str, list[psutil.Process]]:
    """The service's, and PostgreSQL's with those of its connections."""
    found = {}
    for name in ("embed", "postgres"):
        pid = bench.stack.supervisor.pid(name)
        assert pid is not None
        process = psutil.Process(pid)
        found[name] = [process, *process.children(recursive=True)]
    return found


def _memory(bench: Bench) -> dict[str, int]:
    """Bytes, shared pages shared out."""
    return {name: sum(one.memory_full_info().pss for one in listed) for name, listed in _processes(bench).items()}


async def _computing(bench: Bench) -> dict[str, float]:
    """Milliseconds of computing for a hybrid search, which a busy machine does not change much."""
    before = {name: [(one, sum(one.cpu_times()[:2])) for one in listed] for name, listed in _processes(bench).items()}
    await bench.times()
    return {
        name: sum(sum(one.cpu_times()[:2]) - seconds for one, seconds in listed if one.is_running()) / len(bench.queries) * 1000
        for name, listed in before.items()
    }


async def recall(bench: Bench) -> None:
    """Of the ten nearest, how many a search by meaning finds."""
    for share in SHARES:
        await _recall(bench, share, share, UNFILTERED)


async def _recall(bench: Bench, what: str, share: str, filters: SearchFilters, condition: str = "true") -> None:
    found, times = [], []
    for query in bench.queries:
        request = bench.request(query, SearchMode.SEMANTIC, share, filters)
        answer, took = await bench.ask(request)
        times.append(took)
        if nearest := set(await bench.exact(query, share, condition)):
            found.append(len(nearest & {passage.chunk_id for passage in answer.passages}) / len(nearest))
    if not found:
        bench.report.add(f"recall@10, {what}", "nothing lies there")
        return
    bench.report.recalls[f"{bench.report.size:,}, {what}"] = statistics.mean(found)
    bench.report.add(f"recall@10, {what}", f"{statistics.mean(found):.4f}   worst query {min(found):.1f}   {middle(times)}")


async def filters(bench: Bench) -> None:
    """Narrow and wide ones, in the largest workspace."""
    rows = await bench.bare.fetch(
        "SELECT document_id FROM documents WHERE workspace_id = $1 AND live_version IS NOT NULL ORDER BY document_id LIMIT 3",
        workspace_of(LARGE),
    )
    chosen = [row["document_id"] for row in rows]
    listed = ",".join(f"'{one}'" for one in chosen)
    cases: list[tuple[str, SearchFilters, str]] = [
        ("3 documents", SearchFilters(document_ids=chosen), f"d.document_id IN ({listed})"),
        ("one type of five", SearchFilters(content_types=["text/html"]), "d.content_type = 'text/html'"),
    ]
    for share in (0.5, 0.1, 0.01):
        start = NEWEST - timedelta(days=DAYS * share)
        cases.append(
            (
                f"the newest {share:.0%}",
                SearchFilters(created_from=start),
                f"d.document_created_at >= '{start:%Y-%m-%dT%H:%M:%S%z}'",
            )
        )
    for what, filter_, condition in cases:
        await _recall(bench, f"of {what}", LARGE, filter_, condition)
        bench.report.add(f"hybrid, {what}", middle(await bench.times(filters=filter_)))


async def while_(bench: Bench, what: str, work: Callable[[], Awaitable[str]]) -> None:
    """Searches as long as the work goes on."""
    working = asyncio.ensure_future(work())
    times: list[float] = []
    while not working.done() or len(times) < 2:
        query = bench.queries[len(times) % len(bench.queries)]
        times.append((await bench.ask(bench.request(query, SearchMode.HYBRID, LARGE, UNFILTERED)))[1])
    bench.report.add(what, await working)
    bench.report.add(f"hybrid meanwhile ({len(times)} searches)", middle(times))


async def storing(bench: Bench) -> None:
    """Documents as the service stores them, into the index as it is, in a workspace of their own."""
    # What a measurement that was broken off has left.
    for table in ("chunks", "documents", "lexemes", "configurations", "workspaces"):
        await bench.bare.execute(f"DELETE FROM {table} WHERE workspace_id = $1", workspace_of(GUEST))

    async def store() -> str:
        started, count = time.perf_counter(), max(2_000, min(10_000, bench.report.size // 10))
        async with connected(bench.db.dsn) as connection:
            for number in range(count // 500):
                task = Task(workspace_of(GUEST), 1_000_000 + number, 500)
                for document_id, passages in await bench.maker.store(connection, task, live=False):
                    async with bench.db.transaction(Cause.new()) as transaction:
                        await DocumentRepository(transaction).make_live(document_id, task.workspace_id, 1, passages)
        return f"{count / (time.perf_counter() - started):.0f} passages/s"

    await while_(bench, "passages stored, without embedding them", store)


async def deleting(bench: Bench) -> None:
    """The documents that were stored, and what they leave in the index until it is cleaned."""
    rows = await bench.bare.fetch(
        "SELECT document_id FROM documents WHERE workspace_id = $1 AND live_version IS NOT NULL", workspace_of(GUEST)
    )

    async def delete() -> str:
        started = time.perf_counter()
        for row in rows:
            async with bench.db.transaction(Cause.new()) as transaction:
                documents = DocumentRepository(transaction)
                state = await documents.lock(row["document_id"], workspace_of(GUEST))
                await documents.withdraw(row["document_id"], workspace_of(GUEST), state)
                await documents.bury(row["document_id"], 1)
        return f"{(time.perf_counter() - started) / max(1, len(rows)) * 1000:.1f} ms each"

    await while_(bench, f"{len(rows)} documents deleted", delete)
    bench.report.add("hybrid afterwards", middle(await bench.times()))

    async def vacuum() -> str:
        started = time.perf_counter()
        async with connected(bench.owner_dsn) as owner:
            for table in ("embeddings_1", "chunks", "documents", "lexemes"):
                await owner.execute(f"VACUUM {table}")
        return f"{time.perf_counter() - started:.1f} s"

    await while_(bench, "vacuum after that", vacuum)
    await bench.bare.execute("DELETE FROM documents WHERE workspace_id = $1", workspace_of(GUEST))
    bench.report.add("hybrid after vacuum", middle(await bench.times()))


async def rebuilding(bench: Bench) -> None:
    """The index of vectors built anew while searches use the old one."""

    async def reindex() -> str:
        started = time.perf_counter()
        async with connected(bench.owner_dsn) as owner:
            await owner.execute("SET maintenance_work_mem = '3GB'")
            await owner.execute("REINDEX INDEX CONCURRENTLY embeddings_1_hnsw")
        return f"{time.perf_counter() - started:.0f} s"

    await while_(bench, "index of vectors built anew", reindex)


async def sizes(bench: Bench) -> None:
    """Bytes on disk."""
    for name in ("chunks", "embeddings_1", "lexemes", "documents", "chunks_words", "embeddings_1_hnsw"):
        size = await bench.bare.fetchval("SELECT pg_total_relation_size(to_regclass($1))", name)
        bench.report.add(
            f"on disk: {name}" + (" with indexes" if "_" not in name or name == "embeddings_1" else ""),
            f"{size // MEBIBYTE:,} MiB",
        )


@contextlib.asynccontextmanager
async def opened(folder: Path, size: int, arguments: argparse.Namespace, report: Report, engine: MiniLM) -> AsyncIterator[Bench]:
    """The embed service on servers of its own, with a collection of that size, made unless it lies in the folder."""
    with Home.at(folder).locked() as home:
        stack = LocalStack(home, Options(port=free_port(), services=("embed",), environment=dict(os.environ)))
        try:
            await stack.start()
            async with _bench(stack, arguments, report, engine) as bench:
                done = folder / "loaded.json"
                if not done.exists():
                    seconds = await load(bench.db.dsn, bench.owner_dsn, size, SEED, bench.maker.topics)
                    done.write_text(json.dumps(seconds))
                for what, took in json.loads(done.read_text()).items():
                    report.add(what, f"{took:.1f} s, {size / took:,.0f} passages/s")
                yield bench
        finally:
            await stack.stop()


@contextlib.asynccontextmanager
async def _bench(stack: LocalStack, arguments: argparse.Namespace, report: Report, engine: MiniLM) -> AsyncIterator[Bench]:
    secrets, servers = stack.secrets, stack.servers
    environment = service_environment("embed", servers, secrets)
    names = {name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()}
    db = open_database(EmbedSettings.model_validate(names))
    client = await nats.connect(
        servers.nats_url, user="gateway", password=secrets.nats["gateway"], inbox_prefix=inbox_prefix("gateway").encode()
    )
    batcher = MicroBatcher(engine)
    maker = Maker(SEED, engine.embed(Language(SEED).topic_texts()))
    random = np.random.default_rng([SEED, 4])
    # Topics as documents have them: some are asked for more than others.
    wanted = np.minimum(random.pareto(1.2, arguments.queries) * 1000 / 12, 999).astype(int)
    queries = [maker.language.query(int(topic), random) for topic in wanted]
    try:
        async with batcher.running(), connected(role_dsn(servers, secrets, "embed")) as bare:
            owner = role_dsn(servers, secrets, "embed", owner=True)
            requests = RequestClient(lambda: client)
            yield Bench(stack, engine, ModelRegistry(batcher), maker, db, bare, requests, owner, queries, report)
    finally:
        await client.close()
        await db.close()


async def main(arguments: argparse.Namespace) -> int:
    report = Report()
    engine = MiniLM(threads=available_processors())
    wanted = arguments.only.split(",")
    steps: dict[str, Callable[[Bench], Awaitable[None]]] = {
        "search": search, "recall": recall, "filters": filters,
        "storing": storing, "deleting": deleting, "rebuilding": rebuilding,
    }  # fmt: skip
    for size in (int(size) for size in arguments.sizes.split(",")):
        report.size = size
        with tempfile.TemporaryDirectory() if arguments.keep is None else contextlib.nullcontext(arguments.keep) as root:
            folder = Path(root) / f"{size}"
            folder.mkdir(parents=True, exist_ok=True)
            # PostgreSQL runs as another user when this is root.
            os.chmod(root, 0o755)
            async with opened(folder, size, arguments, report, engine) as bench:
                await sizes(bench)
                for part in PARTS:
                    if part in wanted:
                        await steps[part](bench)
    return 0 if report.goals() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of passages, by comma")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="where collections lie, and stay")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, by comma")
    configure_logging("benchmark", log_format="text", level="ERROR")
    sys.exit(asyncio.run(main(parser.parse_args())))

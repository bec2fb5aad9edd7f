"""Whether searches find the right passage: nDCG@10 and recall@100 by words, by meaning and by both, on judged collections.

    python benchmarks/retrieval.py [--collection DIR …] [--passages installed|whole|both] [--queries-out FILE]
    python benchmarks/retrieval.py --collection DIR --url URL --email E --password P

A collection is a folder in the form of BEIR: corpus.jsonl, queries.jsonl, qrels.tsv or qrels/test.tsv. Everything goes through
the public API: each document is uploaded as a text file, title before text, into a workspace of its collection, and each query
is asked in three modes. A document is as good as its best passage.

Two arrangements are measured, each on a DocuTalk of its own that is started for it: `installed`, with passages of 256 tokens as
everybody has them, and `whole`, one passage for each document, as published figures have it (of longer texts the model reads
the first 256 tokens). With --url a running installation is measured as it is.

Without --collection: Cranfield, CISI and ADI in `ir/` of DOCUTALK_CORPORA; they are not part of this repository, and without
them it says so and ends with 0. Expected (nDCG@10: meaning, words, both): Cranfield .400, .381, .433; CISI .421, .332, .431.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import httpx
from docutalk_common.testing.beir import BrokenCollection, Collection, ndcg, recall
from docutalk_local.testing.system import FINAL, Person, running_system

CORPORA = Path(os.environ.get("DOCUTALK_CORPORA", "../shared/data/dev"))
DEFAULT = ("cranfield", "cisi", "adi")
MODES = ("semantic", "keyword", "hybrid")
EXPECTED = {"cranfield": (0.400, 0.381, 0.433), "cisi": (0.421, 0.332, 0.431)}
"""nDCG@10 in the order of `MODES`, one passage for each document."""
MARGIN = 0.005
IN_ONE_REQUEST = 100
DEPTH = 100
QUERY_CHARACTERS = 4000
"""What the API takes; longer queries are cut."""
WHOLE_TOKENS = 2048
ARRANGEMENTS = {
    "installed": ("passages of up to 256 tokens", {}),
    "whole": ("one passage for each document", {"DOCUTALK_CHUNK_TOKENS": str(WHOLE_TOKENS)}),
}


class SignIn(httpx.Auth):
    """Signs in, and again when the token has run out: a large collection takes longer than one is valid."""

    requires_response_body = True

    def __init__(self, url: str, email: str, password: str) -> None:
        self._request = httpx.Request("POST", f"{url}/api/v1/auth/login", json={"email": email, "password": password})
        self._token: str | None = None

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
            if (yield request).status_code != 401:
                return
        answer = yield self._request
        await answer.aread()
        if answer.is_error:
            raise SystemExit(f"signing in: {answer.status_code} {answer.text}")
        self._token = answer.json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


@dataclass
class Outcome:
    """Figures of one mode over all queries. Times are of a page of up to 100 passages, in milliseconds."""

    gains: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@dataclass
class Workspace:
    """A collection in a workspace of its own, and which of its documents a document there stands for: several when they say
    the same."""

    person: Person
    collection: Collection
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    async def fill(self) -> None:
        """Uploads every document and waits until all are final."""
        started = time.perf_counter()
        with_text = [(key, document) for key, document in self.collection.documents.items() if document.content]
        fresh = 0
        for start in range(0, len(with_text), IN_ONE_REQUEST):
            part = with_text[start : start + IN_ONE_REQUEST]
            # Numbers for names: ids may hold anything, and a name must not help to find a document.
            files = [(f"{start + place:07}.txt", document.content.encode()) for place, (_, document) in enumerate(part)]
            for (key, _), accepted in zip(part, await self.person.upload(files), strict=True):
                self.ids[accepted["id"]].append(key)
                fresh += "duplicate_of" not in accepted
        # Asked for as a whole and seldom: a question for each document would be a load of its own.
        while (counts := await self._counts())["final"] < fresh:
            await asyncio.sleep(0.5)
        print(
            f"  {len(self.collection.documents):,} documents, {len(self.collection.documents) - len(with_text)} of them empty and"
            f" {len(with_text) - fresh} the same as others: {counts['ready']:,} ready with {await self._passages():,} passages in"
            f" {time.perf_counter() - started:.0f} s"
            + (f"; {fresh - counts['ready']} NOT READY" if counts["ready"] < fresh else ""),
            flush=True,
        )

    async def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = (await self.person.call("GET", "/progress"))["documents"]
        return {"ready": counts.get("ready", 0), "final": sum(counts.get(status, 0) for status in FINAL)}

    async def _passages(self) -> int:
        passages, page = 0, 1
        while items := (await self.person.call("GET", "/documents", params={"page": page, "per_page": 100}))["items"]:
            passages += sum(item["chunk_count"] or 0 for item in items)
            page += 1
        return passages

    async def ask(self, query: str, mode: str) -> tuple[dict[str, float], float]:
        """Scores of the first 100 documents, best first, and the milliseconds of the first page."""
        ranked: dict[str, float] = {}
        took: float | None = None
        body = {"query": self.collection.queries[query][:QUERY_CHARACTERS], "mode": mode, "limit": 100, "merge": False}
        while len(ranked) < DEPTH:
            started = time.perf_counter()
            answer = await self.person.call("POST", "/search", json=body)
            took = took or (time.perf_counter() - started) * 1000
            for result in answer["results"]:
                for document in self.ids.get(result["document_id"], []):
                    if document not in ranked and not self.collection.is_itself(query, document):
                        ranked[document] = result["score"]
            if not answer["next"]:
                break
            body["after"] = answer["next"]
        return dict(list(ranked.items())[:DEPTH]), took or 0.0


async def measure(workspace: Workspace, arrangement: str, out: TextIO | None) -> bool:
    """Prints the rows of one collection. Whether no figure is missed."""
    collection, met = workspace.collection, True
    outcomes = {mode: Outcome() for mode in MODES}
    for query, relevance in collection.relevance.items():
        for mode, outcome in outcomes.items():
            ranked, took = await workspace.ask(query, mode)
            outcome.gains.append(ndcg(list(ranked), relevance))
            outcome.recalls.append(recall(list(ranked), relevance))
            outcome.times.append(took)
            if out:
                row: dict[str, object] = {"collection": collection.name, "passages": arrangement, "query": query, "mode": mode}
                row |= {"ndcg@10": outcome.gains[-1], "recall@100": outcome.recalls[-1], "ranked": list(ranked.items())}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
    expected = EXPECTED.get(collection.name.lower()) if arrangement == "whole" else None
    for place, (mode, outcome) in enumerate(outcomes.items()):
        gain = statistics.mean(outcome.gains)
        goal = ""
        if expected:
            missed = gain < expected[place] - MARGIN
            met = met and not missed
            goal = f"{expected[place]:.3f} {gain - expected[place]:+.3f}" + (" MISSED" if missed else "")
        print(
            f"  {collection.name[:16]:<17}{mode:<10}{gain:>8.3f}{statistics.mean(outcome.recalls):>12.3f}"
            f"{len(outcome.gains):>9}{statistics.median(outcome.times):>9.1f}"
            f"{statistics.quantiles(outcome.times, n=20)[-1] if len(outcome.times) > 1 else outcome.times[0]:>9.1f}  {goal}",
            flush=True,
        )
    return met


async def measure_all(person: Person, collections: list[Collection], arrangement: str, out: TextIO | None) -> bool:
    """Each collection in a workspace of its own, then all of them asked."""
    workspaces = []
    for collection in collections:
        made = await person.http.post("/api/v1/workspaces", json={"name": f"retrieval: {collection.name}"})
        made.raise_for_status()
        workspace = Workspace(Person(person.http, made.json()["id"]), collection)
        print(f"{collection.name}: {len(collection.relevance):,} queries", flush=True)
        await workspace.fill()
        workspaces.append(workspace)
    print(f"  {'collection':<17}{'by':<10}{'nDCG@10':>8}{'recall@100':>12}{'queries':>9}{'p50 ms':>9}{'p95 ms':>9}  expected")
    return all([await measure(workspace, arrangement, out) for workspace in workspaces])


@asynccontextmanager
async def account(url: str, email: str, password: str) -> AsyncIterator[Person]:
    """Somebody of that installation."""
    async with httpx.AsyncClient(base_url=url, auth=SignIn(url, email, password), timeout=120) as http:
        yield Person(http, "")


async def main(arguments: argparse.Namespace, collections: list[Collection], out: TextIO | None) -> int:
    if arguments.url:
        if not arguments.password:
            sys.exit("--url wants --password, or DOCUTALK_ADMIN_PASSWORD")
        async with account(arguments.url, arguments.email, arguments.password) as person:
            await measure_all(person, collections, "as they are there", out)
        return 0
    met = True
    for arrangement in ARRANGEMENTS if arguments.passages == "both" else [arguments.passages]:
        title, environment = ARRANGEMENTS[arrangement]
        print(f"\n{arrangement}: {title}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            # PostgreSQL runs as another user when this is root.
            os.chmod(folder, 0o755)
            async with running_system(Path(folder) / "home", environment) as system:
                stack = system.stack
                async with account(stack.url, stack.options.admin_email, stack.admin_password) as person:
                    met = await measure_all(person, collections, arrangement, out) and met
    return 0 if met else 1


def _read(arguments: argparse.Namespace) -> list[Collection]:
    folders: list[Path] = arguments.collection or [CORPORA / "ir" / name for name in DEFAULT]
    if not arguments.collection and not any(folder.is_dir() for folder in folders):
        print(f"not measured: {', '.join(DEFAULT)} are not in {CORPORA / 'ir'}; set DOCUTALK_CORPORA or name a --collection")
        sys.exit(0)
    try:
        return [Collection.read(folder, arguments.qrels) for folder in folders]
    except BrokenCollection as error:
        sys.exit(str(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", type=Path, action="append", metavar="DIR", help="a folder in the form of BEIR")
    parser.add_argument("--qrels", metavar="FILE", help="other judgements than the usual ones, below the folder")
    parser.add_argument("--passages", choices=[*ARRANGEMENTS, "both"], default="both", help="without --url: the arrangement")
    parser.add_argument("--queries-out", type=Path, metavar="FILE", help="a line of JSON for each query and mode")
    parser.add_argument("--url", help="a running DocuTalk; without it one is started in a temporary folder")
    parser.add_argument("--email", default=os.environ.get("DOCUTALK_ADMIN_EMAIL", "admin@example.com"))
    parser.add_argument("--password", default=os.environ.get("DOCUTALK_ADMIN_PASSWORD"))
    return parser.parse_args()


def _run() -> int:
    arguments = _arguments()
    collections = _read(arguments)
    if arguments.queries_out is None:
        return asyncio.run(main(arguments, collections, None))
    with arguments.queries_out.open("w", encoding="utf-8") as out:
        return asyncio.run(main(arguments, collections, out))


if __name__ == "__main__":
    sys.exit(_run())

"""Eight annual reports, 851 pages, 19 questions: how fast they are ready, and whether search and answers point at the right page.

    python benchmarks/financebench.py [--corpus DIR] [--url URL --email E --password P]

Prints: pages per second; the share of the time that extraction and embedding need back to back in one process, without
services (goal .7); upload to ready for one page; for the questions the share with an evidence page among the first 1, 5
and 10 results, the share whose answer cites one, and the share of citations whose quote stands on the cited page (must
be all); and of questions from other collections the share that is answered with "not in the documents". The reports are not
part of this repository; without them it says so and ends with 0.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import Person, running_system, sign_in

DEFAULT_CORPORA = "../shared/data/dev"
SMALL_RUNS = 20
STRANGE = 40


@dataclass
class Report:
    """Rows of measure, figure and goal."""

    rows: list[tuple[str, str, str]]

    def add(self, measure: str, figure: str, goal: str = "") -> None:
        self.rows.append((measure, figure, goal))
        print(f"{measure:<68} {figure:>12}  {goal}", flush=True)


@asynccontextmanager
async def _person(arguments: argparse.Namespace) -> AsyncIterator[Person]:
    if arguments.url:
        yield await sign_in(arguments.url, arguments.email, arguments.password)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        async with running_system(Path(folder) / "home") as system:
            yield system.admin


async def _one_page(person: Person, report: Report) -> None:
    """Upload to ready on an idle system, polled as fast as the API answers."""
    seconds = []
    for run in range(SMALL_RUNS):
        content = make_pdf([f"Memo {run} of {time.time_ns()}: the committee met and agreed on the budget."])
        started = time.perf_counter()
        accepted = await person.upload([(f"memo-{run}.pdf", content)])
        while (await person.document(accepted[0]["id"]))["status"] not in {"ready", "failed"}:
            await asyncio.sleep(0.005)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    report.add("one page, upload to ready, p50", f"{statistics.median(seconds) * 1000:.0f} ms", "< 200 ms")
    report.add(f"one page, upload to ready, slowest of {SMALL_RUNS}", f"{seconds[-1] * 1000:.0f} ms", "< 1000 ms")


async def _all_reports(person: Person, files: list[Path], report: Report) -> tuple[dict[str, str], float]:
    """Uploads all in one request. Returns document id by file name, and the seconds until the last was ready."""
    started = time.perf_counter()
    accepted = await person.upload([(path.name, path.read_bytes()) for path in files])
    report.add(f"{len(files)} reports in one request, accepted after", f"{time.perf_counter() - started:.1f} s")
    documents = await person.until_final([d["id"] for d in accepted], seconds=1800)
    elapsed = time.perf_counter() - started
    pages = sum(d["page_count"] or 0 for d in documents.values())
    chunks = sum(d["chunk_count"] or 0 for d in documents.values())
    ready = sum(d["status"] == "ready" for d in documents.values())
    report.add("reports that reached ready", f"{ready} of {len(files)}", "all")
    report.add(f"{pages} pages ({chunks} chunks), upload to ready", f"{elapsed:.1f} s")
    report.add("pages per second", f"{pages / elapsed:.1f}")
    return {d["filename"]: d["id"] for d in documents.values()}, elapsed


def _evidence(question: dict[str, Any], ids: dict[str, str]) -> set[tuple[str, int]]:
    return {(ids[item["doc"]], item["page_zero_indexed"] + 1) for item in question["evidence"] if item["doc"] in ids}


async def _questions(person: Person, questions: list[dict[str, Any]], ids: dict[str, str], report: Report) -> None:
    hits = {1: 0, 5: 0, 10: 0}
    cited = quotes = good_quotes = supported = 0
    search_ms, answer_seconds = [], []
    for question in questions:
        evidence = _evidence(question, ids)
        started = time.perf_counter()
        results = await person.search(question["question"], limit=10)
        search_ms.append((time.perf_counter() - started) * 1000)
        places = [(result["document_id"], result["page"]) for result in results]
        for depth in hits:
            hits[depth] += bool(evidence & set(places[:depth]))
        started = time.perf_counter()
        answer = await person.ask(question["question"])
        answer_seconds.append(time.perf_counter() - started)
        supported += answer["supported"]
        cited += bool(evidence & {(c["document_id"], c["page"]) for c in answer["citations"]})
        for citation in answer["citations"]:
            quotes += 1
            text = await person.page_text(citation["document_id"], citation["page"])
            good_quotes += text[citation["start"] : citation["end"]] == citation["quote"] != ""
    total = len(questions)
    for depth, count in hits.items():
        report.add(f"evidence page among the first {depth} results", f"{count}/{total} = {count / total:.2f}")
    report.add("answers that cite an evidence page", f"{cited}/{total} = {cited / total:.2f}")
    report.add("answers that call themselves supported", f"{supported}/{total}")
    report.add("citations whose quote stands on the cited page", f"{good_quotes}/{quotes}", "all")
    report.add("search, through the API, p50", f"{statistics.median(search_ms):.0f} ms")
    report.add("answer, through the API, p50", f"{statistics.median(answer_seconds) * 1000:.0f} ms")
    if good_quotes != quotes:
        sys.exit("a quote does not stand on its page")


async def _strange_questions(person: Person, corpora: Path, report: Report) -> None:
    """Questions about aeroplanes and libraries: no annual report answers them, so the answer must be that nothing does."""
    for name in ("cranfield", "cisi"):
        file = corpora / "ir" / name / "queries.jsonl"
        if not file.is_file():
            continue
        queries = [json.loads(line)["text"] for line in file.read_text().splitlines()[:STRANGE]]
        answers = [await person.ask(query[:2000]) for query in queries]
        refused = sum(not answer["supported"] for answer in answers)
        report.add(f"questions of {name} answered with: not in the documents", f"{refused}/{len(queries)}", "all")


async def _main(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.corpus) / "financebench"
    if not folder.is_dir():
        print(f"no reports at {folder}; set DOCUTALK_CORPORA or --corpus to the folder that holds financebench/")
        return
    files = sorted((folder / "pdfs").glob("*.pdf"))
    questions = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    report = Report([])
    bare = await _bare(folder / "pdfs") if not arguments.url else None
    if bare:
        report.add("the same pages, extraction and embedding back to back, no services", f"{bare:.1f} s")
    async with _person(arguments) as person:
        await _one_page(person, report)
        ids, elapsed = await _all_reports(person, files, report)
        if bare:
            report.add("bare time / upload to ready", f"{bare / elapsed:.2f}", ">= .7")
        await _questions(person, questions, ids, report)
        await _strange_questions(person, Path(arguments.corpus), report)


async def _bare(folder: Path) -> float:
    """The baseline: a fresh process that parses, cuts and embeds each file, one after the other."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("bare_pipeline.py")), str(folder), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        sys.exit("the baseline failed")
    row = json.loads(output)
    return float(row["reading"] + row["embedding"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=os.environ.get("DOCUTALK_CORPORA", DEFAULT_CORPORA))
    parser.add_argument("--url", help="a running DocuTalk; without it one is started in a temporary folder")
    parser.add_argument("--email", default=os.environ.get("DOCUTALK_ADMIN_EMAIL", "admin@example.com"))
    parser.add_argument("--password", default=os.environ.get("DOCUTALK_ADMIN_PASSWORD"))
    asyncio.run(_main(parser.parse_args()))

"""What becomes of 223 real and hostile files: how much of their text is found, and that nothing gets out of hand.

    python benchmarks/extraction.py [docs] [hostile] [html] [evidence] [--corpus DIR] [--missing]

Every file goes through the parser of the ingest service, in processes with its limits. Prints: by format the share of
the expected strings that are in the text (white space removed, case folded; goal 210 of 250 over these and others); for hostile
files what became of them, the most memory that one took, and how often one tried to reach the network (goal 0); for
web pages the F1 of the article's text by shingles of four words (goal .95); for annual reports the evidence that stands
on the page it is said to stand on (goal all). Ends with 1 when a goal is missed. The files are not part of this repository;
without them it says so and ends with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from docutalk_common import telemetry
from docutalk_common.errors import DocuTalkError
from docutalk_ingest.adapters.isolated_parser import IsolatedParser, Limits
from docutalk_ingest.adapters.parser_host import OUTCOME_FILE
from docutalk_ingest.domain import ParseFailed

DEFAULT_CORPORA = "../shared/data/dev"
SECTIONS = ("docs", "hostile", "html", "evidence")
HTML_GOAL = 0.95
SHINGLE = 4
COVERED = 0.9
"""Other programs copied the evidence out of the reports and write tables in other orders: its words count, not its bytes."""
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_WORD = re.compile(r"\w+")


@dataclass
class Outcome:
    """What became of a file: its pages' texts, or why there are none."""

    pages: list[str] = field(default_factory=list)
    code: str = ""
    reason: str = ""
    seconds: float = 0.0
    units: Counter[str] = field(default_factory=Counter)
    language: str | None = None
    network: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.pages)


class Reader:
    """The parser of the service, and what its processes take while it works."""

    def __init__(self, parser: IsolatedParser) -> None:
        self._parser = parser
        self.peak_bytes: Counter[str] = Counter()

    async def read(self, path: Path, password: str | None = None) -> Outcome:
        out = Path(tempfile.mkdtemp())
        started = time.perf_counter()
        watch = asyncio.create_task(self._watch())
        try:
            outcome = await self._read(path, out, password)
            outcome.network = "is not allowed in the parser" in _detail(out)
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            shutil.rmtree(out)
        outcome.seconds = time.perf_counter() - started
        return outcome

    async def _read(self, path: Path, out: Path, password: str | None) -> Outcome:
        try:
            extraction = await self._parser.parse(path, path.name, out, password=password)
        except ParseFailed as error:
            return Outcome(code=error.code, reason=error.reason)
        except DocuTalkError as error:
            return Outcome(code="crashed", reason=str(error))
        outcome = Outcome(language=extraction.summary.metadata.language)
        async for page in extraction.pages():
            outcome.pages.append(page.text)
            outcome.units.update(unit.kind for unit in page.units)
        return outcome

    async def _watch(self) -> None:
        while True:
            for name, pids in (("parser", _children(self._parser.host_pid)), ("OCR", [self._parser.ocr_pid])):
                for pid in pids:
                    self.peak_bytes[name] = max(self.peak_bytes[name], _peak_bytes(pid))
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _reader() -> AsyncIterator[Reader]:
    parser = IsolatedParser()
    await parser.start()
    try:
        yield Reader(parser)
    finally:
        await parser.close()


def _children(pid: int | None) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children()] if pid else []
    return []


def _peak_bytes(pid: int | None) -> int:
    """The most that was resident, as the kernel has counted it; 0 where it does not."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _detail(out: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((out / OUTCOME_FILE).read_text(encoding="utf-8")).get("detail", ""))
    return ""


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


async def docs(reader: Reader, corpus: Path, *, missing: bool) -> bool:
    """The share of the expected strings, by format."""
    expected = {row["path"]: row["contains"] for row in _lines(corpus / "docs" / "expected_contains.jsonl")}
    table: dict[str, Counter[str]] = defaultdict(Counter)
    gaps: list[str] = []
    for row in _rows(corpus / "docs" / "manifest.csv"):
        outcome = await reader.read(corpus / "docs" / row["path"], row["password"] or None)
        text = _squeezed(outcome.text)
        found = [_squeezed(string) in text for string in expected.get(row["path"], [])]
        counts = table[row["type"]]
        counts.update(files=1, ready=not outcome.code, found=sum(found), expected=len(found), units=outcome.units.total())
        counts["forbidden"] += len(_FORBIDDEN.findall(outcome.text))
        if outcome.code:
            gaps.append(f"{row['path']}: {outcome.code}: {outcome.reason}")
        gaps += [
            f"{row['path']}: not found: {s!r}" for s, there in zip(expected.get(row["path"], []), found, strict=True) if not there
        ]
    print(f"\n{'docs':<8}{'files':>7}{'ready':>7}{'strings found':>16}{'units':>8}{'forbidden':>11}")
    total = sum(table.values(), Counter[str]())
    for name, counts in [*sorted(table.items()), ("all", total)]:
        share = f"{counts['found']}/{counts['expected']}" if counts["expected"] else ""
        print(f"{name:<8}{counts['files']:>7}{counts['ready']:>7}{share:>16}{counts['units']:>8}{counts['forbidden']:>11}")
    for gap in gaps if missing else []:
        print("  ", gap)
    return total["forbidden"] == 0 and total["found"] >= 210 / 250 * total["expected"]


async def hostile(reader: Reader, corpus: Path, *, missing: bool) -> bool:
    """Each file's end: text or a reason, never a crash."""
    codes: Counter[str] = Counter()
    forbidden = attempts = 0
    slowest = ("", 0.0)
    print("\nhostile")
    for row in _rows(corpus / "hostile" / "manifest.csv"):
        path = corpus / "hostile" / row["path"]
        outcome = await reader.read(path)
        codes[outcome.code or "ready"] += 1
        forbidden += len(_FORBIDDEN.findall(outcome.text))
        attempts += outcome.network
        slowest = max(slowest, (row["path"], outcome.seconds), key=lambda item: item[1])
        end = outcome.reason or f"{len(outcome.pages)} pages, {len(outcome.text):,} characters"
        print(f"  {row['path']:<62}{outcome.code or 'ready':<18}{outcome.seconds:>6.1f} s  {end if missing else end[:60]}")
        if outcome.code == "encrypted" and row["password"]:
            opened = await reader.read(path, row["password"])
            wrong = await reader.read(path, "no" + row["password"])
            codes["opened with the password"] += not opened.code
            codes["wrong password told"] += wrong.code == "wrong_password"
            print(f"    with its password: {opened.code or 'ready'}; with another: {wrong.code or 'ready'}")
    for code, count in codes.most_common():
        print(f"  {count:>4}  {code}")
    limit = Limits().memory_bytes / (1 << 20)
    for name, peak in reader.peak_bytes.items():
        print(f"  most memory of the {name}: {peak / (1 << 20):,.0f} MiB (limit {limit:,.0f})")
    print(f"  forbidden characters: {forbidden} (goal 0); tries to reach the network: {attempts} (goal 0)")
    print(f"  slowest: {slowest[0]}, {slowest[1]:.1f} s; crashes and hangs: {codes['crashed'] + codes['timeout']} (goal 0)")
    return forbidden == attempts == codes["crashed"] + codes["timeout"] == 0


async def html(reader: Reader, corpus: Path, *, missing: bool) -> bool:
    """Precision, recall and F1 over the shingles of the articles, each article counting the same."""
    hits = extra = lost = 0.0
    worst: list[tuple[float, str]] = []
    titles = languages = count = 0
    for row in _lines(corpus / "html-articles" / "ground-truth.jsonl"):
        outcome = await reader.read(corpus / "html-articles" / row["file"])
        found, wanted = _shingles(outcome.text), _shingles(row["articleBody"])
        both, only_found, only_wanted = ((found & wanted).total(), (found - wanted).total(), (wanted - found).total())
        of = max(both + only_found + only_wanted, 1)
        hits, extra, lost = hits + both / of, extra + only_found / of, lost + only_wanted / of
        worst.append((both / of, f"{row['file']}: {only_found} too many, {only_wanted} too few, {outcome.reason}"))
        count += 1
        titles += bool(outcome.units["heading"])
        languages += outcome.language is not None
    precision, recall = hits / max(hits + extra, 1e-9), hits / max(hits + lost, 1e-9)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    print(f"\nhtml: {count} pages: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f} (goal {HTML_GOAL})")
    print(f"  with headings {titles}, with a language {languages}")
    for share, line in sorted(worst)[:8] if missing else []:
        print(f"   {share:.2f} {line}")
    return f1 >= HTML_GOAL


async def evidence(reader: Reader, corpus: Path, *, missing: bool) -> bool:
    """Is the evidence of each question on its page, and on no other page as well."""
    pages: dict[str, list[str]] = {}
    found = best = total = 0
    for question in _lines(corpus / "financebench" / "questions.jsonl"):
        for item in question["evidence"]:
            if item["doc"] not in pages:
                pages[item["doc"]] = (await reader.read(corpus / "financebench" / "pdfs" / item["doc"])).pages
            shares = [_covered(item["text"], page) for page in pages[item["doc"]]]
            page = item["page_zero_indexed"]
            share = shares[page] if page < len(shares) else 0.0
            total += 1
            found += share >= COVERED
            best += share == max(shares, default=0.0)
            if missing and share < COVERED:
                print(f"   {item['doc']} page {page + 1}: {share:.2f} of the words; best page {shares.index(max(shares)) + 1}")
    print(f"\nevidence: {sum(map(len, pages.values()))} pages of {len(pages)} reports")
    print(f"  on its page: {found} of {total} (goal all); no other page holds more of it: {best} of {total}")
    return found == total


def _covered(text: str, page: str) -> float:
    """The share of the text's words, as often as they occur, that the page holds; 1 when it holds the text as it is."""
    if _squeezed(text) in _squeezed(page):
        return 1.0
    wanted = Counter(_WORD.findall(text.casefold()))
    return (wanted & Counter(_WORD.findall(page.casefold()))).total() / max(wanted.total(), 1)


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text)
    return Counter(tuple(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1)))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def _main(arguments: argparse.Namespace) -> int:
    corpus = Path(arguments.corpus)
    folders = {"docs": "docs", "hostile": "hostile", "html": "html-articles", "evidence": "financebench"}
    measures = {"docs": docs, "hostile": hostile, "html": html, "evidence": evidence}
    missed = []
    for section in arguments.sections or SECTIONS:
        if not (corpus / folders[section]).is_dir():
            print(f"no files at {corpus / folders[section]}; set DOCUTALK_CORPORA or --corpus to the folder that holds it")
            continue
        started = time.perf_counter()
        async with _reader() as reader:
            if not await measures[section](reader, corpus, missing=arguments.missing):
                missed.append(section)
        print(f"  {section} took {time.perf_counter() - started:.0f} s", flush=True)
    if missed:
        print(f"\ngoals missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of {', '.join(SECTIONS)}; all of them without any")
    parser.add_argument("--corpus", default=os.environ.get("DOCUTALK_CORPORA", DEFAULT_CORPORA))
    parser.add_argument("--missing", action="store_true", help="name what was not found, and whole reasons")
    telemetry.configure_logging("benchmark", log_format="json", level="ERROR")
    sys.exit(asyncio.run(_main(parser.parse_args())))

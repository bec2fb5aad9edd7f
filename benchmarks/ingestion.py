"""How fast documents become ready, by format; what one more document costs when there are many; what each service holds in
memory.

    python benchmarks/ingestion.py [--corpus DIR] [--only formats,documents,growth]

Everything goes through the public API of a DocuTalk that it starts in a temporary folder, while nobody else uses it.

- formats: files that it makes itself, a dozen of each format, beside the same readers and the same model called in one process
  without services.
- documents: real files of every kind, `docs/` of DOCUTALK_CORPORA; left out where they are not.
- growth: 10, 100 and 1,000 one-page texts; a document may cost at most 10 % more with a hundred times as many (goal).

Last comes the memory of each service with its children: now and at its peak.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from docutalk_common.messaging.streams import SERVICES
from docutalk_local.testing.system import FINAL, Person, System, running_system
from sample_files import FORMATS, sentence

DEFAULT_CORPORA = "../shared/data/dev"
FILES_OF_A_FORMAT = 12
SIZES = (10, 100, 1000)
ROUNDS = {10: 3, 100: 2, 1000: 1}
IN_ONE_REQUEST = 100
GROWTH_GOAL = 1.1
PARTS = ("formats", "documents", "growth")
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """What became of some files, and the seconds from the first upload to the last end."""

    files: int
    ready: int
    pages: int
    chunks: int
    seconds: float


async def ingest(person: Person, files: Sequence[tuple[str, bytes]]) -> Outcome:
    """Uploads files and waits until each is final. Asked for as a whole and seldom: a question for each file would be a load of
    its own."""
    before = await _finished(person)
    started = time.perf_counter()
    ids = []
    for start in range(0, len(files), IN_ONE_REQUEST):
        ids += [document["id"] for document in await person.upload(files[start : start + IN_ONE_REQUEST])]
    while await _finished(person) - before < len(files):
        await asyncio.sleep(0.05 if len(files) <= 2 * FILES_OF_A_FORMAT else 0.25)
    seconds = time.perf_counter() - started
    documents = [await person.document(document_id) for document_id in ids]
    ready = [document for document in documents if document["status"] == "ready"]
    return Outcome(
        files=len(files),
        ready=len(ready),
        pages=sum(document["page_count"] or 0 for document in ready),
        chunks=sum(document["chunk_count"] or 0 for document in ready),
        seconds=seconds,
    )


async def _finished(person: Person) -> int:
    counts = (await person.call("GET", "/progress"))["documents"]
    return sum(counts.get(status, 0) for status in FINAL)


async def formats(system: System) -> None:
    """Generated files, each format by itself, against the bare pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix, make in FORMATS.items():
            (Path(folder) / suffix).mkdir()
            for number in range(FILES_OF_A_FORMAT):
                (Path(folder) / suffix / f"report-{number:02}.{suffix}").write_bytes(make(number))
        folders = [Path(folder) / suffix for suffix in FORMATS]
        bare = await _bare(folders)
        print(f"\n{FILES_OF_A_FORMAT} files of each format; pages/s from upload to ready, in one process, and readers alone")
        print(f"{'format':<8}{'pages':>7}{'chunks':>8}{'DocuTalk':>10}{'bare':>9}{'ratio':>7}{'readers':>9}")
        sums: dict[str, float] = defaultdict(float)
        for path in folders:
            files = [(file.name, file.read_bytes()) for file in sorted(path.iterdir())]
            person = await system.register(f"{path.name}@example.com")
            outcome = await ingest(person, files)
            row = bare[path.name]
            alone = row["reading"] + row["embedding"]
            print(
                f"{path.name:<8}{outcome.pages:>7}{outcome.chunks:>8}{outcome.pages / outcome.seconds:>10.1f}"
                f"{row['pages'] / alone:>9.1f}{alone / outcome.seconds:>7.2f}{row['pages'] / row['reading']:>9.0f}"
                + (f"  {outcome.files - outcome.ready} NOT READY" if outcome.ready < outcome.files else ""),
                flush=True,
            )
            sums["ours"] += outcome.seconds
            sums["bare"] += alone
        ratio = sums["bare"] / sums["ours"]
        print(f"all formats: {sums['bare']:.1f} s bare, {sums['ours']:.1f} s through DocuTalk, ratio {ratio:.2f}")


async def _bare(folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("bare_pipeline.py")),
        *map(str, folders),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        sys.exit("the baseline failed")
    return {row["folder"]: row for row in map(json.loads, output.splitlines())}


async def documents(system: System, corpus: Path) -> None:
    """Real files, one kind after the other."""
    folder = corpus / "docs"
    if not folder.is_dir():
        print(f"\nno real documents at {folder}: set DOCUTALK_CORPORA or --corpus to the folder that holds docs/")
        return
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent != folder:
            kinds[path.suffix.lower().removeprefix(".") or "none"].append(path)
    print(f"\n{'real files':<12}{'files':>7}{'ready':>7}{'pages':>7}{'chunks':>8}{'pages/s':>9}{'seconds':>9}")
    person = await system.register("real@example.com")
    for kind, paths in sorted(kinds.items()):
        outcome = await ingest(person, [(path.name, path.read_bytes()) for path in paths])
        print(
            f"{kind:<12}{outcome.files:>7}{outcome.ready:>7}{outcome.pages:>7}{outcome.chunks:>8}"
            f"{outcome.pages / outcome.seconds:>9.1f}{outcome.seconds:>9.1f}",
            flush=True,
        )


async def growth(system: System) -> bool:
    """Seconds for each of 10, 100 and 1,000 one-page texts. Whether the goal is met."""
    print(f"\n{'documents':<12}{'seconds each':>14}{'documents/s':>13}{'to the first':>14}  goal")
    first: float | None = None
    met = True
    for size in SIZES:
        costs = []
        for round_ in range(ROUNDS[size]):
            person = await system.register(f"growth-{size}-{round_}@example.com")
            files = [
                (f"note-{n:04}.txt", "\n".join(sentence(n, round_ * 13 + size, line) for line in range(4)).encode())
                for n in range(size)
            ]
            outcome = await ingest(person, files)
            if outcome.ready < size:
                sys.exit(f"{size - outcome.ready} of {size} documents did not become ready")
            costs.append(outcome.seconds / size)
        cost = statistics.median(costs)
        first = first or cost
        met = met and cost / first <= GROWTH_GOAL
        print(f"{size:<12,}{cost:>14.4f}{1 / cost:>13.1f}{cost / first:>14.2f}  <= {GROWTH_GOAL}", flush=True)
    return met


@dataclass
class Memory:
    """Memory of each service's processes, looked at once a second."""

    system: System
    peak: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def family(self, service: str) -> list[psutil.Process]:
        """A service's process, then its children, as they are now."""
        pid = self.system.stack.supervisor.pid(service)
        if pid is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
        return []

    def look(self) -> dict[str, tuple[int, int]]:
        """For each service the resident bytes of its own process, and those of all of its processes, shared pages shared out."""
        found = {}
        for service in SERVICES:
            own = total = 0
            for position, process in enumerate(self.family(service)):
                with contextlib.suppress(psutil.Error):
                    own = own or (process.memory_info().rss if position == 0 else 0)
                    total += process.memory_full_info().pss
            found[service] = (own, total)
            self.peak[service] = max(self.peak[service], total)
        return found

    def own_peak(self, service: str) -> int:
        """The kernel's own high-water mark of the service's process."""
        status = Path(f"/proc/{self.family(service)[0].pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Looks at it while the block runs."""

        async def watch() -> None:
            while True:
                self.look()
                await asyncio.sleep(1)

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def tell(self) -> None:
        """The table."""
        print(f"\n{'MiB':<10}{'process now':>12}{'its peak':>10}{'with children now':>19}{'their peak':>12}")
        for service, (own, total) in self.look().items():
            figures = (own, self.own_peak(service), total, self.peak[service])
            now, peak, all_now, all_peak = (round(figure / MEBIBYTE) for figure in figures)
            print(f"{service:<10}{now:>12}{peak:>10}{all_now:>19}{all_peak:>12}")


async def main(arguments: argparse.Namespace) -> int:
    wanted = arguments.only.split(",")
    met = True
    with tempfile.TemporaryDirectory() as folder:
        # PostgreSQL runs as another user when this is root.
        os.chmod(folder, 0o755)
        async with running_system(Path(folder) / "home") as system:
            memory = Memory(system)
            async with memory.watched():
                # Growth first: what lies in the index already must not be part of it.
                if "growth" in wanted:
                    met = await growth(system)
                if "formats" in wanted:
                    await formats(system)
                if "documents" in wanted:
                    await documents(system, Path(arguments.corpus))
            memory.tell()
    return 0 if met else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=os.environ.get("DOCUTALK_CORPORA", DEFAULT_CORPORA))
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, by comma")
    sys.exit(asyncio.run(main(parser.parse_args())))

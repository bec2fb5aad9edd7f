"""Reads documents in processes of their own, and turns whatever happens there into text or a reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from docutalk_common.contracts.ingest import DocumentMetadata
from docutalk_common.errors import TransientError
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.extraction import PAGES_FILE
from docutalk_ingest.adapters.parser_host import OUTCOME_FILE
from docutalk_ingest.domain import ExtractedPage, ExtractionSummary, ParseFailed

log = get_logger(__name__)

Progress = Callable[[int, int | None], None]

_TARGET = "docutalk_ingest.adapters.extraction:Extractor"
# The module's name is kept out of the command line: by `docutalk_<name>` there a service's own process is recognised.
_START = "import importlib, os; importlib.import_module(os.environ['PARSER_HOST']).main()"
_INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGTRAP}
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one document may take. Measured on 133 hostile files and 28 bombs: no crash or hang came through."""

    memory_bytes: int = 2 << 30
    cpu_seconds: int = 60
    wall_seconds: float = 120
    file_bytes: int = 64 << 20
    host_seconds: float = 30
    """How much longer than `wall_seconds` the host may take to tell the end; after that it is taken for stuck."""


@dataclass(frozen=True)
class Extraction:
    """What became of a file: totals, and the pages, which stay on disk until they are asked for."""

    summary: ExtractionSummary
    folder: Path

    async def pages(self) -> AsyncIterator[ExtractedPage]:
        """The pages in order. About a megabyte is in memory at a time, read and decoded in a thread."""
        with (self.folder / PAGES_FILE).open(encoding="utf-8") as file:
            number = 0
            while lines := await asyncio.to_thread(lambda: [json.loads(line) for line in file.readlines(_READ_BYTES)]):
                for line in lines:
                    number += 1
                    yield ExtractedPage(number, line["label"], line["text"], [(a, b, c) for a, b, c in line["chunks"]])


class IsolatedParser:
    """One host process, started at the first document and again whenever it has died; one child of it for each document."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),
        overlap: int = 0,
        target: str = _TARGET,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._limits = limits
        self._environment = {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            **(environment or {}),
            "PARSER_HOST": "docutalk_ingest.adapters.parser_host",
            "PARSER_PARENT": str(os.getpid()),
            "PARSER_TARGET": target,
            "PARSER_OPTIONS": json.dumps({"overlap": overlap}),
            # The libraries' own threads would only compete with the other documents.
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
        }
        self._host: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._ended: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._progress: dict[str, Progress] = {}

    async def start(self) -> None:
        """Loads the parsers ahead of the first document. `TransientError` when the host cannot start."""
        await self._running_host()

    async def close(self) -> None:
        """Ends the host and whatever it is reading."""
        if self._host is not None:
            with contextlib.suppress(ProcessLookupError):
                self._host.kill()
            await self._host.wait()
        if self._listener is not None:
            await self._listener

    @property
    def host_pid(self) -> int | None:
        """The process id of the host while it runs."""
        return self._host.pid if self._host is not None and self._host.returncode is None else None

    async def parse(self, path: Path, filename: str, out: Path, *, on_progress: Progress = lambda done, of: None) -> Extraction:
        """Reads the file at `path` into the existing folder `out`.

        Raises `ParseFailed` when the file is at fault and `TransientError` when the process was killed from outside or its
        host is stuck.
        `on_progress(pages done, pages or None)` is called on the event loop.
        """
        host = await self._running_host()
        assert host.stdin is not None
        id_ = uuid4().hex
        ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._ended[id_] = ended
        self._progress[id_] = on_progress
        request = {
            "id": id_,
            "path": str(path),
            "filename": filename,
            "out": str(out),
            "memory_bytes": self._limits.memory_bytes,
            "cpu_seconds": self._limits.cpu_seconds,
            "wall_seconds": self._limits.wall_seconds,
            "file_bytes": self._limits.file_bytes,
        }
        try:
            host.stdin.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(self._limits.wall_seconds + self._limits.host_seconds):
                end = await ended
        except TimeoutError:
            # Without this a host that is stopped or stuck would keep its documents for ever, under a steady heartbeat.
            with contextlib.suppress(ProcessLookupError):  # another document has noticed first
                host.kill()
            await host.wait()
            raise TransientError("the parser host does not answer and is started again") from None
        except asyncio.CancelledError:
            host.stdin.write(json.dumps({"kill": id_}).encode() + b"\n")
            raise
        finally:
            del self._ended[id_], self._progress[id_]
        return self._judge(end, out, filename)

    def _judge(self, end: dict[str, Any], out: Path, filename: str) -> Extraction:
        exit_code = end["exit"]
        if exit_code == 0:
            outcome = json.loads((out / OUTCOME_FILE).read_text(encoding="utf-8"))
            if "detail" in outcome:
                log.warning("a parser raised", filename=filename, detail=outcome["detail"])
            if "failed" in outcome:
                raise ParseFailed(*outcome["failed"])
            summary = outcome["summary"]
            metadata = DocumentMetadata.model_validate(summary["metadata"])
            return Extraction(ExtractionSummary(**{**summary, "metadata": metadata}), out)
        if end["late"]:
            raise ParseFailed(
                "timeout",
                f"Reading the file took longer than {self._limits.wall_seconds:g} seconds. "
                "Split it or save it in a simpler form.",
            )
        if exit_code == -signal.SIGXCPU:
            raise ParseFailed(
                "timeout",
                f"Reading the file took more than {self._limits.cpu_seconds} seconds of computing. "
                "Split it or save it in a simpler form.",
            )
        if -exit_code in _CRASHES:
            raise ParseFailed(
                "crashed", "The file made its reader crash; it is probably damaged. Save it again from the program that made it."
            )
        raise TransientError(f"the parser process ended early (exit code {exit_code})")

    async def _running_host(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._host is None or self._host.returncode is not None or self._listener is None or self._listener.done():
                self._host = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    _START,
                    "docutalk-parser-host",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env=self._environment,
                )
                assert self._host.stdout is not None
                if not await self._host.stdout.readline():
                    raise TransientError("the parser host did not start")
                self._listener = asyncio.create_task(self._listen(self._host.stdout))
            return self._host

    async def _listen(self, events: asyncio.StreamReader) -> None:
        while line := await events.readline():
            event = json.loads(line)
            if event.get("ended"):
                ended = self._ended.get(event["id"])
                if ended is not None and not ended.done():
                    ended.set_result(event)
            elif event["id"] in self._progress:
                self._progress[event["id"]](event["done"], event["of"])
        for ended in self._ended.values():
            if not ended.done():
                ended.set_exception(TransientError("the parser host ended"))

"""Reads documents in processes of their own, and turns whatever happens there into text or a reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from docutalk_common.contracts.ingest import Box, Boxes, DocumentMetadata
from docutalk_common.errors import TransientError
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.chunker import MODEL_TOKENS
from docutalk_ingest.adapters.extraction import OCR_FILE, PAGES_FILE, UNLOCKED_FILE
from docutalk_ingest.adapters.ocr import OcrReader
from docutalk_ingest.adapters.parser_host import OUTCOME_FILE, inherited
from docutalk_ingest.domain import ExtractedPage, ExtractionSummary, ParseFailed, UnitSpan

log = get_logger(__name__)

Progress = Callable[[int, int | None], None]

_TARGET = "docutalk_ingest.adapters.extraction:Extractor"
# The module's name is kept out of the command line: by `docutalk_<name>` there a service's own process is recognised.
_START = "import importlib, os; importlib.import_module(os.environ['PARSER_HOST']).main()"
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
    ocr_pages: int = 1_000
    """How many scanned pages of a document are read; at some seconds a page."""


RENDERED = ("webp", "image/webp")
"""Suffix and media type of a page's picture."""


@dataclass(frozen=True)
class Extraction:
    """What became of a file: totals, and the pages, which stay on disk until they are asked for."""

    summary: ExtractionSummary
    folder: Path

    @property
    def unlocked(self) -> Path | None:
        """A copy of an encrypted PDF without its protection, when a password has opened it."""
        copy = self.folder / UNLOCKED_FILE
        return copy if copy.exists() else None

    async def pages(self) -> AsyncIterator[ExtractedPage]:
        """The pages in order. About a megabyte is in memory at a time, read and decoded in a thread."""
        with (self.folder / PAGES_FILE).open(encoding="utf-8") as file:
            number = 0
            while lines := await asyncio.to_thread(lambda: [json.loads(line) for line in file.readlines(_READ_BYTES)]):
                for line in lines:
                    number += 1
                    yield _extracted(number, line)


@dataclass(frozen=True)
class Picture:
    """A rendered page: a file, and its size in pixels."""

    path: Path
    width: int
    height: int


def _extracted(number: int, line: dict[str, Any]) -> ExtractedPage:
    return ExtractedPage(
        number,
        line["label"],
        line["text"],
        [(start, end, batch) for start, end, batch in line["chunks"]],
        line["kind"],
        [UnitSpan(**unit) for unit in line["units"]],
        None if line["lines"] is None else [(start, end, *box) for start, end, *box in line["lines"]],
    )


def _tell(host: asyncio.subprocess.Process, request: dict[str, Any]) -> bool:
    """False when the host is no more."""
    assert host.stdin is not None
    try:
        host.stdin.write(json.dumps(request).encode() + b"\n")
    except (RuntimeError, OSError):  # what uvloop and asyncio say of a closed pipe
        return False
    return True


class IsolatedParser:
    """One host process, started at the first document and again whenever it has died; one child of it for each job on a file.

    Beside it a process that reads pictures, from the first scanned page on.
    """

    def __init__(
        self,
        *,
        limits: Limits = Limits(),
        ocr: OcrReader | None = None,
        max_tokens: int = MODEL_TOKENS,
        overlap: int = 0,
        target: str = _TARGET,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._limits = limits
        self._environment = {
            **inherited(),
            **(environment or {}),
            "PARSER_HOST": "docutalk_ingest.adapters.parser_host",
            "PARSER_PARENT": str(os.getpid()),
            "PARSER_TARGET": target,
            "PARSER_OPTIONS": json.dumps({"max_tokens": max_tokens, "overlap": overlap}),
        }
        self._ocr = ocr or OcrReader()
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
        await self._ocr.close()
        if self._host is not None:
            with contextlib.suppress(ProcessLookupError):
                self._host.kill()
            await self._host.wait()
        if self._listener is not None:
            await self._listener

    @property
    def ocr_pid(self) -> int | None:
        """The process id of the OCR while it runs."""
        return self._ocr.pid

    @property
    def host_pid(self) -> int | None:
        """The process id of the host while it runs."""
        return self._host.pid if self._host is not None and self._host.returncode is None else None

    async def parse(
        self,
        path: Path,
        filename: str,
        out: Path,
        *,
        password: str | None = None,
        on_progress: Progress = lambda done, of: None,
    ) -> Extraction:
        """Reads the file at `path` into the existing folder `out`; its scanned pages by OCR, one after the other.

        Raises `ParseFailed` when the file is at fault and `TransientError` when the process was killed from outside or its
        host is stuck. When the task is cancelled, whatever reads for it is ended.
        `on_progress(pages done, pages or None)` is called on the event loop.
        """
        arguments = {"path": str(path), "filename": filename, "password": password}
        # What a password has opened is written again without protection, so that it can be shown.
        unlocked_bytes = 2 * (await asyncio.to_thread(path.stat)).st_size if password is not None else 0
        result = await self._run("extract", arguments, out, on_progress=on_progress, unlocked_bytes=unlocked_bytes)
        if "ocr" in result:
            unlocked = out / UNLOCKED_FILE
            await self._read_pictures(unlocked if unlocked.exists() else path, result, out, on_progress)
            arguments = {"media_type": result["media_type"], "metadata": result["metadata"]}
            result = await self._run("assemble", arguments, out)
        summary = result["summary"]
        metadata = DocumentMetadata.model_validate(summary["metadata"])
        return Extraction(ExtractionSummary(**{**summary, "metadata": metadata}), out)

    async def _read_pictures(self, path: Path, first: dict[str, Any], out: Path, on_progress: Progress) -> None:
        on_progress(first["done"], first["of"])
        with (out / OCR_FILE).open("w", encoding="utf-8") as file:
            for position, number in enumerate(first["ocr"]):
                if position < self._limits.ocr_pages:
                    page = await self._ocr.read(path, number)
                else:
                    page = {"problem": f"of one document {self._limits.ocr_pages:,} are read; split it into smaller files"}
                file.write(json.dumps({"number": number, **page}, ensure_ascii=False) + "\n")
                on_progress(first["done"] + position + 1, first["of"])

    async def boxes(
        self,
        path: Path,
        number: int,
        start: int,
        end: int,
        text: str,
        *,
        out: Path,
        lines: Sequence[Sequence[float]] | None = None,
    ) -> Boxes:
        """Where `text[start:end]` stands on page `number` (from 1) of the PDF or image at `path`; `text` is the page's stored
        text and `lines`, for a page read by OCR, its lines as `ExtractedPage` has them. `out` is an empty folder.

        Raises as `parse` does; `ParseFailed("no_boxes")` for files of other kinds.
        """
        # In a file: the host reads what all documents want from one pipe, and millions of characters hold up the others.
        page = out / "page.json"
        await asyncio.to_thread(lambda: page.write_text(json.dumps({"text": text, "lines": lines}), encoding="utf-8"))
        arguments = {"path": str(path), "number": number, "start": start, "end": end, "page": str(page)}
        found = await self._run("boxes", arguments, out)
        boxes = [Box(left=left, top=top, right=right, bottom=bottom) for left, top, right, bottom in found["boxes"]]
        return Boxes(width=found["width"], height=found["height"], boxes=boxes)

    async def render(self, path: Path, number: int, width: int, out: Path) -> Picture:
        """A picture of page `number` (from 1) of the PDF or image at `path`, written to the folder `out`, `width` pixels wide or
        smaller: never more than six million pixels, and never larger than an image is.

        Raises as `parse` does; `ParseFailed("no_image")` for files of other kinds.
        """
        name = f"page.{RENDERED[0]}"
        size = await self._run("render", {"path": str(path), "number": number, "width": width, "name": name}, out)
        return Picture(out / name, size["width"], size["height"])

    async def _run(
        self,
        job: str,
        arguments: dict[str, Any],
        out: Path,
        *,
        on_progress: Progress = lambda done, of: None,
        unlocked_bytes: int = 0,
    ) -> dict[str, Any]:
        """Does one job in a process of its own."""
        host = await self._running_host()
        id_ = uuid4().hex
        ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._ended[id_] = ended
        self._progress[id_] = on_progress
        request = {
            "id": id_,
            "job": job,
            "arguments": arguments,
            "out": str(out),
            "memory_bytes": self._limits.memory_bytes,
            "cpu_seconds": self._limits.cpu_seconds,
            "wall_seconds": self._limits.wall_seconds,
            "file_bytes": self._limits.file_bytes + unlocked_bytes,
        }
        try:
            if not _tell(host, request):
                raise TransientError("the parser host ended")
            async with asyncio.timeout(self._limits.wall_seconds + self._limits.host_seconds):
                end = await ended
        except TimeoutError:
            # Without this a host that is stopped or stuck would keep its documents for ever, under a steady heartbeat.
            with contextlib.suppress(ProcessLookupError):  # another document has noticed first
                host.kill()
            await host.wait()
            raise TransientError("the parser host does not answer and is started again") from None
        except asyncio.CancelledError:
            _tell(host, {"kill": id_})
            raise
        finally:
            del self._ended[id_], self._progress[id_]
        return self._judge(end, out)

    def _judge(self, end: dict[str, Any], out: Path) -> dict[str, Any]:
        exit_code = end["exit"]
        if exit_code == 0:
            outcome = json.loads((out / OUTCOME_FILE).read_text(encoding="utf-8"))
            if "detail" in outcome:
                log.warning("a parser raised", folder=out.name, detail=outcome["detail"])
            if "failed" in outcome:
                raise ParseFailed(*outcome["failed"])
            result: dict[str, Any] = outcome["result"]
            return result
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
                try:
                    ready = await self._host.stdout.readline()
                except BaseException:
                    # Nobody else knows of it, and it would wait for work until this service ends.
                    self._host.kill()
                    raise
                if not ready:
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

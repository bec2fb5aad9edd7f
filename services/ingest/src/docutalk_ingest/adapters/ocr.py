"""Has pictures read by a process of its own, one page at a time, and turns what happens there into text or a reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutalk_common.errors import TransientError
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.parser_host import inherited

log = get_logger(__name__)

# The module's name is kept out of the command line: by `docutalk_<name>` there a service's own process is recognised.
_START = "import importlib, os; importlib.import_module(os.environ['OCR_WORKER']).main()"
_WORKER = "docutalk_ingest.adapters.ocr_worker"
_ANSWER_BYTES = 16 << 20


@dataclass(frozen=True)
class OcrLimits:
    """What reading one page may take, and when the process is replaced by a fresh one."""

    memory_bytes: int = 3 << 30
    cpu_seconds: int = 60
    page_seconds: float = 120
    start_seconds: float = 60
    recycle_pages: int = 200
    recycle_bytes: int = 1200 << 20
    """Of its peak; 0.6 GB are usual."""
    idle_seconds: float = 120
    """Without a page for so long it ends, and its memory is free."""


class OcrReader:
    """One process, started with the first page; pages of several documents take turns."""

    def __init__(
        self, limits: OcrLimits | None = None, *, worker: str = _WORKER, environment: dict[str, str] | None = None
    ) -> None:
        self._limits = limits = limits or OcrLimits()
        self._environment = {
            **inherited(),
            **(environment or {}),
            "OCR_WORKER": worker,
            "OCR_PARENT": str(os.getpid()),
            "OCR_LIMITS": json.dumps({"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.cpu_seconds}),
        }
        self._worker: asyncio.subprocess.Process | None = None
        self._pages = 0
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._worker.pid if self._worker is not None and self._worker.returncode is None else None

    async def read(self, path: Path, number: int) -> dict[str, Any]:
        """What page `number` (from 1) of the file shows: `{lines: [[text, x, y, …]], width, height}`, the corners of each line
        in pixels of a picture of that size; or `{problem}`.

        Raises `TransientError` when the process cannot start. When the task is cancelled, the process is ended.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                # Killed from outside, for memory perhaps, is nothing that the page has done: once more.
                answer = await self._ask(path, number) or await self._ask(path, number)
            finally:
                self._idle = asyncio.get_running_loop().call_later(self._limits.idle_seconds, self._end_idle)
        return answer or {"problem": "its reader was ended from outside"}

    async def close(self) -> None:
        """Ends the process."""
        if self._idle is not None:
            self._idle.cancel()
        await self._end()

    async def _ask(self, path: Path, number: int) -> dict[str, Any] | None:
        """None when the process was killed by somebody else."""
        worker = await self._running()
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(self._limits.page_seconds):
                worker.stdin.write(json.dumps({"path": str(path), "number": number}).encode() + b"\n")
                line = await worker.stdout.readline()
        except TimeoutError:
            await self._end()
            return {"problem": f"reading took longer than {self._limits.page_seconds:g} seconds"}
        except asyncio.CancelledError:
            await self._end()
            raise
        if not line:
            code = await worker.wait()
            log.warning("the OCR ended", exit_code=code, page=number)
            if code == -signal.SIGXCPU:
                return {"problem": f"reading took more than {self._limits.cpu_seconds} seconds of computing"}
            return None if code == -signal.SIGKILL else {"problem": "the picture makes its reader crash"}
        answer: dict[str, Any] = json.loads(line)
        if detail := answer.pop("detail", None):
            log.warning("a picture could not be read", page=number, detail=detail)
        self._pages += 1
        if answer.pop("peak_bytes") > self._limits.recycle_bytes or self._pages >= self._limits.recycle_pages:
            await self._end()
        return answer

    async def _running(self) -> asyncio.subprocess.Process:
        if self._worker is not None and self._worker.returncode is None:
            return self._worker
        self._pages = 0
        self._worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _START,
            "docutalk-ocr",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=_ANSWER_BYTES,
        )
        assert self._worker.stdout is not None
        try:
            async with asyncio.timeout(self._limits.start_seconds):
                ready = await self._worker.stdout.readline()
        except TimeoutError:
            ready = b""
        except asyncio.CancelledError:
            await self._end()
            raise
        if not ready:
            await self._end()
            raise TransientError("the OCR did not start")
        return self._worker

    async def _end(self) -> None:
        if self._worker is not None:
            with contextlib.suppress(ProcessLookupError):
                self._worker.kill()
            await self._worker.wait()

    def _end_idle(self) -> None:
        if self._worker is not None and self._worker.returncode is None and not self._turn.locked():
            self._worker.kill()

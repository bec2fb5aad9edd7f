"""Keeps child processes running: starts them, waits until they work, restarts those that die, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from docutalk_local.children import Program, last_lines, spawn
from docutalk_local.errors import ChildFailed

_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_HEALTHY_AFTER_SECONDS = 60.0
_PROBE_SECONDS = 0.02
_LIVENESS_REFUSALS = 3
_LOG_CHECK_SECONDS = 15.0
LOG_BYTES = 8 << 20

Report = Callable[[str, str], None]
"""Called with a child's name and a sentence about it."""
Record = Callable[[str, int | None], None]
"""Called with a child's name and its process id, None when it is gone."""


@dataclass
class _Child:
    program: Program
    process: asyncio.subprocess.Process | None = None
    watcher: asyncio.Task[None] | None = None
    wanted: bool = True
    ready: bool = False
    restarts: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Owns its children. Use it from the main thread's event loop; see `children.spawn`."""

    def __init__(
        self,
        *,
        report: Report = lambda name, sentence: None,
        record: Record = lambda name, pid: None,
        restart: bool = True,
        liveness_seconds: float = 10.0,
    ) -> None:
        """`liveness_seconds`: how often a child that can hang is asked whether it is alive."""
        self._report = report
        self._record = record
        self._restart = restart
        self._liveness_seconds = liveness_seconds
        self._children: dict[str, _Child] = {}
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self, programs: Iterable[Program]) -> None:
        """Start all of them at once and return when each is ready.

        Raises `ChildFailed` for the first that ends or isn't ready in time; the others are left to `stop`.
        """
        if self._housekeeping is None:
            self._housekeeping = asyncio.create_task(self._keep_house())
        async with _first_error_only(), asyncio.TaskGroup() as group:
            for program in programs:
                self._children[program.name] = child = _Child(program)
                group.create_task(self._first_start(child))

    async def stop(self) -> None:
        """Stop the highest stage first, each stage at once. A child that outlasts its grace is killed."""
        for child in self._children.values():
            child.wanted = False
        for stage in sorted({child.program.stage for child in self._children.values()}, reverse=True):
            members = [child for child in self._children.values() if child.program.stage == stage]
            await asyncio.gather(*(self._end(child) for child in members))
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            self._housekeeping = None
        self._children.clear()

    def kill_all(self) -> None:
        """End everything now, without grace: for the second Ctrl-C."""
        for child in self._children.values():
            child.wanted = False
            _signal_group(child.process, signal.SIGKILL)

    def pid(self, name: str) -> int | None:
        """The process id of a child that runs, else None."""
        process = self._children[name].process
        return process.pid if process is not None and process.returncode is None else None

    def restarts(self, name: str) -> int:
        """How often a child had to be started again."""
        return self._children[name].restarts

    async def stop_one(self, name: str) -> None:
        """Stop one child gracefully; it stays down until `start_again`."""
        self._children[name].wanted = False
        await self._end(self._children[name])

    async def kill(self, name: str) -> None:
        """`kill -9` to one child and return when it is gone. It is restarted, if this supervisor restarts at all."""
        child = self._children[name]
        process = child.process
        # Not left to the watcher: `until_ready` right after this would see the ready child of before.
        child.ready = False
        _signal_group(process, signal.SIGKILL)
        if process is not None:
            await process.wait()

    async def start_again(self, name: str) -> None:
        """Start a child that was stopped or killed and wait until it is ready; `ChildFailed` when it can't.

        One that runs is left alone: a second process would find the first one's port answering, be taken for ready, and end.
        """
        child = self._children[name]
        if self.pid(name) is not None:
            return
        await _cancelled(child.watcher)
        child.wanted = True
        await self._first_start(child)

    async def until_ready(self, name: str, timeout: float = 60.0) -> None:
        """Wait until the child is ready (again); TimeoutError."""
        child = self._children[name]
        async with asyncio.timeout(timeout):
            while not child.ready:
                await child.changed.wait()
                child.changed.clear()

    async def _first_start(self, child: _Child) -> None:
        await self._launch(child)
        child.watcher = asyncio.create_task(self._watch(child))

    async def _launch(self, child: _Child) -> None:
        """Spawn and wait until ready; on failure nothing is left running."""
        program = child.program
        child.process = process = await spawn(program)
        self._record(program.name, process.pid)
        deadline = time.monotonic() + program.ready_within
        try:
            while not await _says_yes(program.ready):
                if process.returncode is not None:
                    raise ChildFailed(
                        f"{program.name} ended with {_exit_text(process.returncode)} while starting",
                        tail=last_lines(program.log),
                    )
                if time.monotonic() > deadline:
                    raise ChildFailed(
                        f"{program.name} was not ready within {program.ready_within:g} s", tail=last_lines(program.log)
                    )
                await asyncio.sleep(_PROBE_SECONDS)
        except BaseException:
            _signal_group(process, signal.SIGKILL)
            await process.wait()
            self._record(program.name, None)
            raise
        child.ready = True
        child.changed.set()

    async def _watch(self, child: _Child) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            assert child.process is not None
            code = await self._until_dead(child, child.process)
            child.ready = False
            # What it started itself must not go on without it.
            _signal_group(child.process, signal.SIGKILL)
            self._record(child.program.name, None)
            if not child.wanted or not self._restart:
                return
            failures = 0 if time.monotonic() - started > _HEALTHY_AFTER_SECONDS else failures
            self._report(child.program.name, f"ended with {_exit_text(code)}, starting it again")
            while child.wanted:
                await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1
                if not child.wanted:
                    return
                child.restarts += 1
                try:
                    await self._launch(child)
                except ChildFailed as error:
                    self._report(child.program.name, str(error))
                except Exception as error:
                    # No memory, no disk, a program that is being replaced: a watcher that ended would never start it again.
                    self._report(child.program.name, f"could not be started: {type(error).__name__}: {error}")
                else:
                    self._report(child.program.name, "works again")
                    break

    async def _until_dead(self, child: _Child, process: asyncio.subprocess.Process) -> int:
        """The exit code, once it has ended, by itself or because it no longer answered."""
        refusals = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._liveness_seconds):
                    return await process.wait()
            if child.program.alive is None or not child.wanted:
                continue
            refusals = 0 if await _says_yes(child.program.alive) else refusals + 1
            if refusals >= _LIVENESS_REFUSALS:
                self._report(child.program.name, "does not answer any more, killing it")
                _signal_group(process, signal.SIGKILL)

    async def _end(self, child: _Child) -> None:
        child.wanted = False
        process = child.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(child.program.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), child.program.grace)
            except TimeoutError:
                self._report(child.program.name, f"did not stop within {child.program.grace:g} s, killing it")
        _signal_group(process, signal.SIGKILL)
        if process is not None:
            await process.wait()
        await _cancelled(child.watcher)
        child.ready = False
        self._record(child.program.name, None)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_LOG_CHECK_SECONDS)
            for child in list(self._children.values()):
                keep_small(child.program.log)


def keep_small(log: Path, limit: int = LOG_BYTES) -> None:
    """Move the content of a log that has grown over `limit` bytes to `<name>.1`, replacing the one before.

    Copied and cut, not renamed: the child keeps its file open, and appends whatever the length. What can't be copied, on a
    full disk for example, is tried again the next time.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)


async def _says_yes(probe: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await asyncio.wait_for(probe(), 5.0)
    except (OSError, TimeoutError):
        return False


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _signal_group(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    """To the child and all that it started and that stayed in its group."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _exit_text(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


@contextlib.asynccontextmanager
async def _first_error_only() -> AsyncIterator[None]:
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None

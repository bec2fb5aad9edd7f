"""A small process that forks one process for each job on a file, with the parsers already loaded.

Files come from strangers and the libraries that read them are written in C: a document may take all memory, loop, or crash.
Each is read in a process of its own, under limits, without network and this service's secrets, and that process dies
with the service.

Speaks JSON lines with `IsolatedParser`: requests on standard input, events on standard output; no state but its children.
Not multiprocessing's fork server: that imports the service's main module in every child, 1.5 s each, and one abort breaks every
pending future of its pool.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from docutalk_ingest.domain import ParseFailed, TooMuchText

OUTCOME_FILE = "outcome.json"
_INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PROGRESS_SECONDS = 0.5
_SPLIT = "Split it into smaller files."
# Any of these in a parser is an attempt to reach outside of it.
_FORBIDDEN = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "ctypes.dlopen")

Work = Callable[..., dict[str, Any]]
"""`work(job, out, progress, **arguments)` does what is asked with the files in `out` and returns what goes into the outcome."""


@dataclass(frozen=True)
class _Child:
    id: str
    deadline: float


def main() -> None:
    """Serves until standard input ends. Environment: `PARSER_PARENT` (pid), `PARSER_TARGET` (`module:class`), `PARSER_OPTIONS`
    (JSON, given to the class).
    """
    die_with_parent(int(os.environ["PARSER_PARENT"]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the service decides when this ends
    leave_network()
    module, _, name = os.environ["PARSER_TARGET"].partition(":")
    work: Work = getattr(import_module(module), name)(json.loads(os.environ.get("PARSER_OPTIONS", "{}")))
    gc.collect()
    gc.freeze()  # the children's collector leaves the shared pages alone
    _Host(work).serve()


def inherited() -> dict[str, str]:
    """Of this process's environment, what one that reads strangers' files is given: none of the secrets."""
    given = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # The libraries' own threads would only compete with the other documents.
    return {**given, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


def die_with_parent(parent: int) -> None:
    """The kernel kills this process when its parent ends, even by SIGKILL. Linux only; elsewhere the end of input does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def leave_network() -> None:
    """An empty network namespace, where the system permits it; children are barred from sockets in any case."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET) != 0:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


class _Host:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._children: dict[int, _Child] = {}
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        _send({"ready": True})
        pending = b""
        while True:
            nearest = min((child.deadline for child in self._children.values()), default=None)
            timeout = None if nearest is None else max(0.0, nearest - time.monotonic())
            readable, _, _ = select.select([0, self._wake_read], [], [], timeout)
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            self._reap()
            self._kill_late()
            if 0 in readable:
                block = os.read(0, 65536)
                if not block:
                    break
                *lines, pending = (pending + block).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _handle(self, request: dict[str, Any]) -> None:
        if "kill" in request:
            for pid, child in self._children.items():
                if child.id == request["kill"]:
                    os.kill(pid, signal.SIGKILL)
            return
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                _run_child(host, request, self._work)
            finally:
                os._exit(70)
        self._children[pid] = _Child(request["id"], time.monotonic() + request["wall_seconds"])

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid)
            late = time.monotonic() >= child.deadline
            code = os.waitstatus_to_exitcode(status)
            _send({"id": child.id, "ended": True, "exit": code, "late": late})

    def _kill_late(self) -> None:
        for pid, child in self._children.items():
            if time.monotonic() >= child.deadline:
                os.kill(pid, signal.SIGKILL)


def _send(event: dict[str, Any]) -> None:
    # One write of less than PIPE_BUF: lines of several processes do not mix.
    os.write(1, json.dumps(event).encode() + b"\n")


def _run_child(host: int, request: dict[str, Any], work: Work) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    die_with_parent(host)
    events = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _limit(request)
    sys.addaudithook(forbid)
    out = Path(request["out"])
    # What a parser writes besides goes where it is removed with the rest, also when this process is killed.
    tempfile.tempdir = str(out)
    outcome = _outcome(work, request, out, _Progress(events, request["id"]))
    partial = out / (OUTCOME_FILE + ".part")
    partial.write_text(json.dumps(outcome), encoding="utf-8")
    partial.rename(out / OUTCOME_FILE)
    os._exit(0)


def _limit(request: dict[str, Any]) -> None:
    cpu = request["cpu_seconds"]
    for kind, soft, hard in (
        (resource.RLIMIT_AS, request["memory_bytes"], request["memory_bytes"]),
        (resource.RLIMIT_CPU, cpu, cpu + 5),
        (resource.RLIMIT_FSIZE, request["file_bytes"], request["file_bytes"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        bounds = (soft, hard) if ceiling == resource.RLIM_INFINITY else (min(soft, ceiling), min(hard, ceiling))
        resource.setrlimit(kind, bounds)


def forbid(event: str, _arguments: object) -> None:
    """An audit hook under which nothing outside of this process can be reached."""
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not allowed in the parser")


class _Progress:
    """Tells of pages done, at most twice a second."""

    def __init__(self, descriptor: int, id_: str) -> None:
        self._descriptor = descriptor
        self._id = id_
        self._next = 0.0

    def __call__(self, done: int, of: int | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            os.write(self._descriptor, json.dumps({"id": self._id, "done": done, "of": of}).encode() + b"\n")


def _outcome(work: Work, request: dict[str, Any], out: Path, progress: _Progress) -> dict[str, Any]:
    try:
        return {"result": work(request["job"], out, progress, **request["arguments"])}
    except ParseFailed as error:
        failure = error
    except MemoryError:
        gib = request["memory_bytes"] / (1 << 30)
        failure = ParseFailed("too_much_memory", f"Reading the file takes more than {gib:g} GiB of memory. {_SPLIT}")
    except RecursionError:
        failure = ParseFailed("damaged", "The file is nested too deeply to be read. Save it again in a simpler form.")
    except OSError as error:
        if error.errno != errno.EFBIG:
            return _unexpected(error)
        failure = TooMuchText("more text than fits the limit")
    except Exception as error:
        return _unexpected(error)
    return {"failed": [failure.code, failure.reason]}


def _unexpected(error: Exception) -> dict[str, Any]:
    reason = "The file could not be read; it is probably damaged. Save it again from the program that made it and upload that."
    return {"failed": ["unreadable", reason], "detail": f"{type(error).__name__}: {error}"}

"""Starting one child process so that it neither outlives the supervisor nor hears the terminal's Ctrl-C."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from docutalk_local.errors import ChildFailed

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522

# Loaded before any fork: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Account:
    """The unprivileged account a child runs as when we are root, because PostgreSQL refuses root."""

    uid: int
    gid: int

    @classmethod
    def unprivileged(cls, folder: Path) -> Account | None:
        """The owner that `folder` already has, else `postgres`, else `nobody`; None when we are not root ourselves."""
        if os.geteuid() != 0:
            return None
        if folder.exists() and (owner := folder.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        names = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = names.get("postgres") or names.get("nobody")
        if entry is None:
            raise ChildFailed("running as root needs an account named postgres or nobody, and this system has neither")
        return cls(entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True)
class Program:
    """What to run and how to know that it works.

    `ready` returns False, or raises OSError or TimeoutError, while the program isn't ready yet.
    `alive` says the same later, where a program can hang: three refusals in a row and it is killed and started again.
    `ready_within` and `grace` (from the stop signal to the kill) are seconds. Higher stages are stopped first.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], Awaitable[bool]]
    ready_within: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    account: Account | None = None
    alive: Callable[[], Awaitable[bool]] | None = None
    stage: int = 0


async def spawn(program: Program) -> asyncio.subprocess.Process:
    """Start `program` in a session of its own, its output appended to its log.

    Call it from the main thread: the kernel ties the death of a child to the thread that forked it.
    """
    program.log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *program.command,
            env=dict(program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            preexec_fn=_between_fork_and_exec(program.account, program.stop_signal),
        )
    finally:
        os.close(descriptor)


async def run_to_end(command: Sequence[str], *, account: Account | None, timeout: float = 120.0) -> str:
    """Run a short command and return its output; `ChildFailed` with that output when it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=base_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_between_fork_and_exec(account, signal.SIGTERM),
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ChildFailed(f"{Path(command[0]).name} did not finish within {timeout:g} s") from None
    text = output.decode(errors="replace")
    if process.returncode != 0:
        raise ChildFailed(f"{Path(command[0]).name} failed with exit code {process.returncode}:\n{text.strip()}")
    return text


def base_environment() -> dict[str, str]:
    """The part of our environment that is nobody's secret and that any program may need."""
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    allowed |= {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"}
    prefixes = ("LC_", "OTEL_", "PYTHON", "LD_", "DYLD_", "OMP_", "XDG_", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if name in allowed or name.startswith(prefixes)}


def _between_fork_and_exec(account: Account | None, on_parent_death: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux" and account is None:
        return None
    parent = os.getpid()
    capability = _search_capability() if account is not None and sys.platform == "linux" else None

    def prepare() -> None:
        if account is not None:
            _become(account, capability)
        if sys.platform == "linux":
            # After the change of account, which would clear it. The check closes the gap if the parent died meanwhile.
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def _search_capability() -> int:
    """The narrowest capability at hand with which another account can walk through folders closed to all but root.

    Our home folder has mode 0700 and the virtual environment may lie below one that has; opening them to everybody
    (what the wheel's own start does) is worse than one capability for a process that root starts anyway.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:") and int(line.split()[1], 16) >> _CAP_DAC_READ_SEARCH & 1:
            return _CAP_DAC_READ_SEARCH
    return _CAP_DAC_OVERRIDE


def _become(account: Account, capability: int | None) -> None:
    os.setgroups([])
    if capability is not None:
        _LIBC.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    if capability is not None:
        mask = 1 << capability
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        if _LIBC.capset(header, sets) == 0:
            _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log, for an error message; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""

"""`docutalk up` as a person runs it: a process of its own, watched from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.process import wait_until
from docutalk_local.children import base_environment
from docutalk_local.ports import free_port

DOCUTALK = str(Path(sys.executable).parent / "docutalk")
NAMES = {"postgres", "nats", "storage", *SERVICES}


class Up:
    """A `docutalk up` in the background; `lines` is what it has printed so far."""

    def __init__(self, home: Path, port: int, **settings: str) -> None:
        self.home, self.port = home, port
        self.url = f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [DOCUTALK, "up", "--home", str(home), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=base_environment() | settings,
            cwd=home.parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip() for line in self.process.stdout)

    async def until(self, text: str, seconds: float = 120) -> None:
        async def said() -> bool:
            assert self.process.poll() is None, "\n".join(self.lines)
            return any(text in line for line in self.lines)

        await wait_until(said, seconds=seconds, what=f"{text!r} is printed")

    def children(self) -> dict[str, psutil.Process]:
        """Those that run now."""
        found = {}
        for name, entry in json.loads((self.home / "children.json").read_text()).items():
            with contextlib.suppress(psutil.NoSuchProcess):
                found[name] = psutil.Process(entry["pid"])
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(120)
        self._reader.join(10)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)
        assert self.process.stdout is not None
        self._reader.join(10)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that all tests here share, until the last one stops it."""
    running = Up(tmp_path_factory.mktemp("up") / "home", free_port(), OPENAI_API_KEY="of-chat-alone", DOCUTALK_LOG_LEVEL="DEBUG")
    yield running
    running.close()


async def test_it_prints_where_to_go_and_who_may_sign_in(up: Up) -> None:
    await up.until("Ctrl-C stops everything")
    text = "\n".join(up.lines)
    kept = json.loads((up.home / "cli.json").read_text())
    assert kept["url"] == up.url
    for part in (f"{up.url}/docs", kept["email"], kept["password"]):
        assert part in text
    assert stat.S_IMODE((up.home / "cli.json").stat().st_mode) == 0o600
    async with httpx.AsyncClient(base_url=up.url) as http:
        assert (await http.get("/docs")).status_code == 200
        answer = await http.post("/api/v1/auth/login", json={"email": kept["email"], "password": kept["password"]})
        assert answer.status_code == 200, answer.text


async def test_every_part_is_a_process_that_knows_only_its_own_credentials(up: Up) -> None:
    await up.until("Ctrl-C stops everything")
    children = up.children()
    assert children.keys() == NAMES
    secrets = json.loads((up.home / "secrets.json").read_text())
    for service in SERVICES:
        process = children[service]
        assert f"docutalk_{service}" in process.cmdline()
        environment = "\n".join(process.environ().values())
        known = {
            *(name for name, password in secrets["postgres"].items() if password in environment),
            *(f"nats {name}" for name, password in secrets["nats"].items() if password in environment),
            *(f"storage {name}" for name, password in secrets["storage"].items() if password in environment),
        }
        assert known == {f"{service}_app", f"nats {service}", f"storage {service}"}
        assert (secrets["jwt"] in environment) == (service == "gateway")
        assert ("of-chat-alone" in environment) == (service == "chat")
        assert process.environ()["DOCUTALK_LOG_LEVEL"] == "DEBUG"
    for process in children.values():
        assert not [word for word in process.cmdline() if any(p in word for p in secrets["postgres"].values())]


async def test_nothing_listens_beyond_this_machine(up: Up) -> None:
    await up.until("Ctrl-C stops everything")
    for process in up.children().values():
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", process.name()


async def refused(home: Path, port: int) -> tuple[int | None, str]:
    """The exit code and the message of a start that can't succeed."""
    process = await asyncio.create_subprocess_exec(
        DOCUTALK, "up", "--home", str(home), "--port", str(port), stderr=asyncio.subprocess.PIPE, env=base_environment()
    )
    _, text = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, text.decode()


async def test_a_second_start_on_the_folder_is_refused_and_names_the_first(up: Up) -> None:
    await up.until("Ctrl-C stops everything")
    code, text = await refused(up.home, free_port())
    assert code == 1
    assert f"already runs on {up.home} (process {up.process.pid})" in text


async def test_a_port_in_use_is_refused_before_anything_starts(up: Up, tmp_path: Path) -> None:
    await up.until("Ctrl-C stops everything")
    code, text = await refused(tmp_path, up.port)
    assert code == 1
    assert f"port {up.port} is in use" in text
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_a_part_that_is_killed_comes_back(up: Up, name: str) -> None:
    await up.until("Ctrl-C stops everything")
    before = up.children()[name]
    before.kill()

    async def back() -> bool:
        now = up.children().get(name)
        return now is not None and now != before

    await wait_until(back, seconds=60, what=f"{name} is started again")
    await up.until(f"{name} works again")
    async with httpx.AsyncClient(base_url=up.url) as http:

        async def ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(ready, seconds=60, what="the gateway is ready")


async def test_ctrl_c_stops_everything_and_a_second_start_finds_the_state_again(up: Up) -> None:
    await up.until("Ctrl-C stops everything")
    children = list(up.children().values())
    first = json.loads((up.home / "cli.json").read_text())
    assert up.stop() == 0
    assert up.lines[-1] == "Stopped."
    assert not [process for process in children if process.is_running()]
    again = Up(up.home, up.port)
    try:
        await again.until("Ctrl-C stops everything")
        assert json.loads((up.home / "cli.json").read_text()) == first
        async with httpx.AsyncClient(base_url=up.url) as http:
            answer = await http.post("/api/v1/auth/login", json={"email": first["email"], "password": first["password"]})
            assert answer.status_code == 200, answer.text
        assert again.stop(signal.SIGTERM) == 0
    finally:
        again.close()


async def test_ctrl_c_while_it_starts_leaves_nothing_running(tmp_path: Path) -> None:
    starting = Up(tmp_path / "home", free_port())
    try:
        await starting.until("Services: ")
        children = list(starting.children().values())
        assert starting.stop() == 0
        assert not [process for process in children if process.is_running()]
        assert not (tmp_path / "home" / "cli.json").exists()
    finally:
        starting.close()


async def test_a_service_that_cannot_start_ends_it_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    failing = Up(tmp_path / "home", free_port(), DOCUTALK_MAX_UPLOAD_BYTES="much")
    try:
        assert await asyncio.to_thread(failing.process.wait, 240) == 1
    finally:
        failing.close()
    text = "\n".join(failing.lines)
    assert "gateway ended with exit code 1 while starting" in text
    assert "max_upload_bytes" in text


def test_a_terminal_sees_each_step_finish_and_ctrl_c_in_it_is_orderly(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(DOCUTALK, [DOCUTALK, "up", "--home", str(tmp_path / "home"), "--port", str(free_port())])
    seen = b""
    asked = False
    try:
        while chunk := _read(terminal):
            seen += chunk
            if b"Ctrl-C stops everything" in seen and not asked:
                os.write(terminal, b"\x03")
                asked = True
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = seen.decode()
    for step in ("PostgreSQL, NATS and object storage", "Schemas, streams and the bucket", "Services: gateway"):
        assert f"✓\x1b[0m {step}" in text
    assert "Stopped." in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # How Linux says that the other side of a terminal has closed.
        return b""

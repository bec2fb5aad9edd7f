"""The state folder: one user at a time, secrets for its owner's eyes, nothing left behind by a run that was killed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from docutalk_local.errors import HomeInUse, StartError
from docutalk_local.home import Home
from docutalk_local.ports import free_port

# A supervisor with the three servers and no services: what `docutalk up` is before its last step.
SERVERS_ONLY = textwrap.dedent(
    """
    import asyncio, signal, sys
    from docutalk_local.home import Home
    from docutalk_local.stack import LocalStack, Options

    async def main(home):
        stack = LocalStack(home, Options(port=int(sys.argv[2]), services=(), durable=False))
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        await stack.start()
        print("ready", flush=True)
        await stopping.wait()
        await stack.stop()

    with Home.at(sys.argv[1]).locked() as home:
        asyncio.run(main(home))
    """
)


@contextmanager
def servers_in(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A running supervisor on that folder, ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVERS_ONLY, str(folder), str(free_port())], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def children_of(folder: Path) -> list[psutil.Process]:
    recorded = json.loads((folder / "children.json").read_text())
    return [psutil.Process(entry["pid"]) for entry in recorded.values()]


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_second_start_on_the_same_folder_is_refused_and_names_the_process_of_the_first(tmp_path: Path) -> None:
    with servers_in(tmp_path) as first, pytest.raises(HomeInUse, match=f"process {first.pid}"), Home(tmp_path).locked():
        pass


def test_a_folder_whose_user_has_ended_is_free_again(tmp_path: Path) -> None:
    with servers_in(tmp_path):
        children = children_of(tmp_path)
        assert {child.name() for child in children} == {"postgres", "nats-server", "rclone"}
    assert_gone(children)
    with servers_in(tmp_path):
        pass


def test_after_kill_9_the_servers_end_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    with servers_in(tmp_path) as first:
        children = children_of(tmp_path)
        first.kill()
        first.wait()
        # They hear of it from the kernel, before anybody starts again.
        if sys.platform == "linux":
            assert_gone(children)
        with servers_in(tmp_path):
            assert not {child.pid for child in children} & {child.pid for child in children_of(tmp_path)}


def test_a_server_left_running_by_a_killed_run_is_stopped_by_the_next_one(tmp_path: Path) -> None:
    # One that nobody's death stops, as on systems whose kernel doesn't tell.
    orphan = subprocess.Popen(["sleep", "600"], start_new_session=True)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    home = Home(tmp_path)
    try:
        home.record("postgres", orphan.pid)
        recorded = json.loads((tmp_path / "children.json").read_text())
        # The same id, but another process by now.
        recorded["nats"] = {"pid": stranger.pid, "started": time.time() - 3600}
        (tmp_path / "children.json").write_text(json.dumps(recorded))
        with home.locked():
            orphan.wait(10)
            assert stranger.poll() is None
    finally:
        for process in (orphan, stranger):
            process.kill()
            process.wait()


def test_the_folder_and_its_secrets_are_closed_to_everyone_else(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    with home.locked():
        secrets = home.secrets()
        home.port("nats")
        home.record("self", os.getpid())
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    for path in home.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    passwords = [*secrets.postgres.values(), *secrets.nats.values(), *secrets.storage.values(), secrets.jwt]
    assert len(set(passwords)) == len(passwords)
    assert min(len(password) for password in passwords) >= 32


def test_secrets_and_ports_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.locked():
        secrets, port = home.secrets(), home.port("nats")
    with home.locked():
        assert home.secrets() == secrets
        assert home.port("nats") == port


def test_port_of_the_last_start_is_given_to_nobody_else_before_its_server_listens(tmp_path: Path) -> None:
    def in_another_process(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    home = "from pathlib import Path; from docutalk_local.home import Home"
    in_another_process(f"{home}; Home(Path({str(tmp_path)!r})).port('nats')")  # the last start, which has ended
    port = Home(tmp_path).port("nats")
    assert in_another_process(f"from docutalk_local.ports import claim; print(claim({port}))") == "False"


def test_a_user_added_by_a_newer_version_gets_a_password_and_the_others_keep_theirs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.locked():
        before = home.secrets()
        stored = json.loads((tmp_path / "secrets.json").read_text())
        del stored["nats"]["chat"]
        (tmp_path / "secrets.json").write_text(json.dumps(stored))
        after = home.secrets()
        assert after.nats["ingest"] == before.nats["ingest"]
        assert after.nats["chat"] != before.nats["chat"]
        assert home.secrets() == after


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="file/home"), Home(tmp_path / "file" / "home").locked():
        pass


def test_the_password_of_an_administrator_is_kept_once_the_account_exists(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.locked():
        made = home.admin_password("Admin@example.com", None)
        assert home.admin_password("admin@example.com", None) == made
        # The gateway never started: the account can still have the password that a person now asks for.
        assert home.admin_password("admin@example.com", "chosen-by-me") == "chosen-by-me"
        home.admin_was_made("admin@example.com")
        assert home.admin_password("admin@example.com", "another-one") == "chosen-by-me"
        assert home.admin_password("other@example.com", None) not in (made, "chosen-by-me")


def test_a_child_that_cannot_be_written_down_is_no_error(tmp_path: Path) -> None:
    (tmp_path / f".children.json.{os.getpid()}").mkdir()
    Home.at(tmp_path).record("a", os.getpid())
    Home.at(tmp_path).record("a", None)

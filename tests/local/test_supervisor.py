"""Children start, are watched, come back after a death, and end in order."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from docutalk_common.process import wait_until
from docutalk_local.children import Program, base_environment
from docutalk_local.errors import ChildFailed
from docutalk_local.supervisor import Supervisor, keep_small

# Says that it is ready by making a file; writes its name when it is told to stop.
CHILD = """
import pathlib, signal, sys, time
name, folder, ignores = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] == "stubborn"
def stop(*_):
    with (folder / "stopped").open("a") as file:
        file.write(name + "\\n")
    if not ignores:
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(folder / name).touch()
while True:
    time.sleep(0.1)  # a signal that comes just before a pause would be lost in it
"""


class Children:
    """Programs in one folder, and a supervisor for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.supervisor = Supervisor(report=lambda name, sentence: self.said.append(f"{name} {sentence}"), liveness_seconds=0.05)

    def program(self, name: str, *, stage: int = 0, kind: str = "polite", code: str = CHILD) -> Program:
        async def ready() -> bool:
            return (self.folder / name).exists()

        return Program(
            name=name,
            command=[sys.executable, "-c", code, name, str(self.folder), kind],
            environment=base_environment(),
            log=self.folder / f"{name}.log",
            ready=ready,
            ready_within=20.0,
            grace=3.0 if kind == "stubborn" else 10.0,
            stage=stage,
        )

    @property
    def stopped(self) -> list[str]:
        return (self.folder / "stopped").read_text().split()


@pytest.fixture
async def children(tmp_path: Path) -> AsyncIterator[Children]:
    made = Children(tmp_path)
    yield made
    await made.supervisor.stop()


async def test_a_killed_child_is_started_again(children: Children) -> None:
    await children.supervisor.start([children.program("a")])
    before = children.supervisor.pid("a")
    await children.supervisor.kill("a")
    await children.supervisor.until_ready("a", 20)
    assert children.supervisor.pid("a") != before
    assert children.supervisor.restarts("a") == 1
    assert children.said == ["a ended with signal SIGKILL, starting it again", "a works again"]


async def test_a_child_whose_program_is_away_for_a_while_is_started_when_it_is_back(children: Children) -> None:
    program, away = children.folder / "program", children.folder / "away"
    program.symlink_to(sys.executable)
    given = children.program("a")
    await children.supervisor.start([replace(given, command=[str(program), *given.command[1:]])])
    program.rename(away)
    await children.supervisor.kill("a")

    async def tried() -> bool:
        return any(said.startswith("a could not be started: FileNotFoundError") for said in children.said)

    await wait_until(tried, seconds=20, what="the supervisor has tried to start it")
    away.rename(program)
    await children.supervisor.until_ready("a", 20)
    assert children.said[-1] == "a works again"


async def test_starting_a_running_child_again_leaves_it_alone_and_it_can_still_be_stopped(children: Children) -> None:
    await children.supervisor.start([children.program("a")])
    before = children.supervisor.pid("a")
    await children.supervisor.start_again("a")
    assert children.supervisor.pid("a") == before
    await children.supervisor.stop_one("a")
    assert children.stopped == ["a"]


async def test_a_child_that_keeps_dying_is_tried_again_less_and_less_often(children: Children) -> None:
    await children.supervisor.start([children.program("a")])
    began = asyncio.get_running_loop().time()
    for death in range(1, 4):
        await children.supervisor.kill("a")

        async def restarted(count: int = death) -> bool:
            return children.supervisor.restarts("a") == count

        await wait_until(restarted, seconds=20, what="the restart")
        await children.supervisor.until_ready("a", 20)
    assert asyncio.get_running_loop().time() - began > 0.2 + 0.5 + 1.0


async def test_stages_are_stopped_from_the_highest_down(children: Children) -> None:
    programs = [children.program("server", stage=0), children.program("gateway", stage=2), children.program("ingest", stage=1)]
    await children.supervisor.start(programs)
    await children.supervisor.stop()
    assert children.stopped == ["gateway", "ingest", "server"]


async def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(children: Children) -> None:
    await children.supervisor.start([children.program("a", kind="stubborn")])
    pid = children.supervisor.pid("a")
    assert pid is not None
    await children.supervisor.stop()
    assert children.stopped == ["a"]
    assert not psutil.pid_exists(pid)
    assert children.said == ["a did not stop within 3 s, killing it"]


async def test_a_child_that_ends_while_starting_is_reported_with_its_last_words(children: Children) -> None:
    program = children.program("a", code="import sys; sys.exit('there is no such setting')")
    with pytest.raises(ChildFailed, match="a ended with exit code 1 while starting") as failed:
        await children.supervisor.start([program, children.program("b")])
    assert "there is no such setting" in failed.value.tail


async def test_what_a_child_started_does_not_outlive_it(children: Children) -> None:
    code = CHILD.replace("import pathlib,", "import os, subprocess, pathlib,").replace(
        "(folder / name).touch()",
        "(folder / 'grandchild').write_text(str(subprocess.Popen(['sleep', '600']).pid)); (folder / name).touch()",
    )
    await children.supervisor.start([children.program("a", code=code)])
    grandchild = int((children.folder / "grandchild").read_text())
    await children.supervisor.kill("a")

    async def gone() -> bool:
        try:
            return psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await wait_until(gone, seconds=10, what="the end of the grandchild")


async def test_a_signal_to_our_own_group_does_not_reach_a_child(children: Children) -> None:
    await children.supervisor.start([children.program("a")])
    pid = children.supervisor.pid("a")
    assert pid is not None
    assert os.getpgid(pid) == pid != os.getpgid(0)
    assert os.getsid(pid) != os.getsid(0)


async def test_a_child_that_no_longer_answers_is_killed_and_started_again(children: Children) -> None:
    program = children.program("a")

    async def alive() -> bool:
        return children.supervisor.restarts("a") > 0

    await children.supervisor.start([Program(**{**program.__dict__, "alive": alive})])

    async def restarted() -> bool:
        return children.supervisor.restarts("a") == 1

    await wait_until(restarted, seconds=20, what="the restart")
    await children.supervisor.until_ready("a", 20)
    assert children.said[0].startswith("a does not answer")


async def test_an_environment_holds_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "DOCUTALK_ADMIN_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in base_environment().values()


def test_a_log_that_has_grown_too_long_is_moved_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("a") as writer:
        writer.write("x" * 100 + "\n")
        writer.flush()
        keep_small(log, limit=50)
        writer.write("after\n")
    assert log.read_text() == "after\n"
    assert (tmp_path / "a.log.1").read_text() == "x" * 100 + "\n"


def test_a_log_that_cannot_be_moved_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("much")
    (tmp_path / "a.log.1").mkdir()
    keep_small(log, limit=1)
    assert log.read_text() == "much"

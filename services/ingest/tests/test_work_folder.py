"""Files that are being read leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docutalk_ingest.adapters.work_folder import WorkFolder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def test_folder_of_a_document_is_removed_with_what_is_in_it(tmp_path: Path) -> None:
    async with WorkFolder(tmp_path).of_one_document() as folder:
        (folder / "source").write_bytes(b"x")
    assert names(tmp_path) == set()


async def test_start_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path, ended: int) -> None:
    kept = {f"docutalk-ingest-{os.getppid()}-abc", "docutalk-ingest-of-somebody", "x"}
    left = f"docutalk-ingest-{ended}-abc"
    for name in (*kept, left):
        (tmp_path / name).mkdir()
    (tmp_path / left / "source").write_bytes(b"left")
    await WorkFolder(tmp_path).clear()
    assert names(tmp_path) == kept

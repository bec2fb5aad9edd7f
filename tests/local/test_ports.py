"""Whoever is given a port can rely on it, whatever else starts on this machine."""

from __future__ import annotations

import subprocess
import sys

PORTS_OF_A_PROCESS = 500
"""Of ten thousand, in two processes: 25 would be in both if they chose without regard to each other."""
CHOOSES = f"""
import sys
from docutalk_local.ports import free_port
print(*(free_port() for _ in range({PORTS_OF_A_PROCESS})), flush=True)
sys.stdin.read()
"""


def test_two_processes_are_never_given_the_same_port() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", CHOOSES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    chosen: list[str] = []
    for process in processes:
        assert process.stdout is not None
        chosen += process.stdout.readline().split()
    for process in processes:
        process.communicate(timeout=30)
    assert len(set(chosen)) == len(chosen) == 2 * PORTS_OF_A_PROCESS

"""What a picture can make its reader do. Stands in the OCR's place in its process; the page's number says what."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from docutalk_ingest.adapters.ocr_worker import serve

CRASH, HANG, KILLED, HOG, FETCH, COMPUTE = range(2, 8)


def main() -> None:
    """As `ocr_worker.main`."""
    serve(lambda: read)


def read(path: Path, number: int) -> dict[str, Any]:
    """A line that names the process, unless the page is one of those."""
    match number:
        case _ if number == CRASH:
            os.abort()
        case _ if number == HANG:
            signal.pause()
        case _ if number == KILLED and not (path.parent / "killed").exists():
            os.kill(os.getppid(), 0)
            _remember(path.parent / "killed")
            os.kill(os.getpid(), signal.SIGKILL)
        case _ if number == HOG:
            bytearray(1 << 34)
        case _ if number == FETCH:
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        case _ if number == COMPUTE:
            while True:
                pass
    said = f"This was read by process {os.getpid()}."
    return {"lines": [[said, 61.2, 79.2, 306.0, 79.2, 306.0, 118.8, 61.2, 118.8]], "width": 612, "height": 792}


def _remember(mark: Path) -> None:
    mark.mkdir()

"""What a broken or hostile file can make a parser do. Stands in the parser's place in its process; the file's name says what."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutalk_ingest.domain import ParseFailed


class Hostile:
    """Called as `Extractor` is."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def __call__(
        self, job: str, out: Path, progress: Callable[[int, int | None], None], *, path: str, filename: str, **arguments: Any
    ) -> dict[str, Any]:
        self.out = out
        progress(1, 2)
        deed: Callable[[], object] = getattr(self, filename)
        (out / "deed").write_text(repr(deed()))
        return {
            "summary": {
                "content_type": "text/plain",
                "page_count": 2,
                "characters": 0,
                "chunk_count": 0,
                "batch_count": 0,
                "metadata": {},
            }
        }

    def nothing(self) -> None:
        """A file like any other."""

    def hog(self) -> None:
        """Takes memory until there is none."""
        held = []
        while True:
            held.append(bytearray(1 << 24))

    def loop(self) -> None:
        """Computes for ever."""
        while True:
            pass

    def wait(self) -> None:
        """Does nothing for ever."""
        while True:
            signal.pause()

    def abort(self) -> None:
        """As a C++ library does on an assertion."""
        os.abort()

    def crash(self) -> None:
        """Reads address 0."""
        ctypes.string_at(0)

    def killed(self) -> None:
        """As by the system when it runs out of memory."""
        os.kill(os.getpid(), signal.SIGKILL)

    def raises(self) -> None:
        """A library's own exception."""
        raise KeyError("shape")

    def refuses(self) -> None:
        """A reader that knows what is wrong."""
        raise ParseFailed("damaged", "It is torn.")

    def nested(self) -> None:
        """Brackets in brackets."""
        self.nested()

    def fills(self) -> None:
        """Writes without end."""
        with (self.out / "big").open("wb") as file:
            while True:
                file.write(bytes(1 << 20))

    def fetches(self) -> None:
        """Reaches for the network."""
        socket.create_connection(("127.0.0.1", 9), timeout=1)

    def looks_around(self) -> list[str]:
        """Tells which variables it was given."""
        return sorted(os.environ)

"""Where files lie while they are read: a folder for each document, removed afterwards; after a `kill -9`, at the next start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

_NAME = re.compile(r"docutalk-ingest-(\d+)-")


class WorkFolder:
    """Below `root`, or below the system's own place for temporary files. Processes of different containers must not share it."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(tempfile.gettempdir())

    async def make(self) -> Path:
        """A new folder, for the maker to remove; after a `kill -9` the next start does."""
        return Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f"docutalk-ingest-{os.getpid()}-", dir=self.root))

    @contextlib.asynccontextmanager
    async def of_one_document(self) -> AsyncIterator[Path]:
        """An empty folder that is gone afterwards. The files may be large, so all of it happens in threads."""
        folder = await self.make()
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def clear(self) -> None:
        """Removes what processes left that are no more. What bears our own number is of an earlier one: we have just started."""
        await asyncio.to_thread(self._clear)

    def _clear(self) -> None:
        for folder in self.root.iterdir():
            name = _NAME.match(folder.name)
            if name and (int(name[1]) == os.getpid() or not _runs(int(name[1]))):
                shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Files of the object store at hand on this machine's disk, for as long as somebody leafs through them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from weakref import WeakValueDictionary

from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.work_folder import WorkFolder

UNUSED_SECONDS = 600.0
"""After that a file goes: a deleted document leaves nothing behind for long."""


@dataclass
class _Kept:
    path: Path
    size: int
    users: int = 0
    uses: int = 0


def _remove(folder: Path, beginning: str) -> None:
    for path in folder.glob(f"{beginning}*"):
        path.unlink(missing_ok=True)


class FileCache:
    """At most `max_bytes`, the files that were used longest ago going first; what is in use, and the last one used, stays."""

    def __init__(self, storage: ObjectStorage, work_folder: WorkFolder, *, max_bytes: int) -> None:
        self._storage = storage
        self._work_folder = work_folder
        self._max_bytes = max_bytes
        self._folder: Path | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def file(self, key: str) -> AsyncIterator[Path]:
        """The object's bytes in a file, for reading. Objects never change. Raises `NotFound` and `DependencyUnavailable`."""
        lock = self._fetching.setdefault(key, asyncio.Lock())
        async with lock:
            kept = self._kept.get(key) or await self._fetch(key)
            kept.users += 1
            kept.uses += 1
        self._kept.move_to_end(key)
        try:
            yield kept.path
        finally:
            kept.users -= 1
            asyncio.get_running_loop().call_later(UNUSED_SECONDS, self._forget_unused, key, kept.uses)
            self._shrink()

    async def close(self) -> None:
        """Removes all files."""
        self._kept.clear()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _fetch(self, key: str) -> _Kept:
        if self._folder is None:
            self._folder = await self._work_folder.make()
        path = self._folder / uuid4().hex
        try:
            await self._storage.download(key, path)
        except Exception:
            # What came until then lies beside it; on a full disk that is what fills it.
            await asyncio.to_thread(_remove, self._folder, path.name)
            raise
        kept = self._kept[key] = _Kept(path, (await asyncio.to_thread(path.stat)).st_size)
        return kept

    def _forget_unused(self, key: str, uses: int) -> None:
        kept = self._kept.get(key)
        if kept is not None and kept.users == 0 and kept.uses == uses:
            self._forget(key)

    def _shrink(self) -> None:
        total = sum(kept.size for kept in self._kept.values())
        for key, kept in list(self._kept.items())[:-1]:
            if total <= self._max_bytes:
                return
            if kept.users == 0:
                total -= kept.size
                self._forget(key)

    def _forget(self, key: str) -> None:
        self._kept.pop(key).path.unlink(missing_ok=True)

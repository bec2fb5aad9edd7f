"""How many documents, and how many bytes of files, a workspace may still take from its sources."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID

from docutalk_common.contracts.gateway import WorkspaceState
from docutalk_common.db import Database

from docutalk_ingest.adapters.record_repository import RecordRepository

COUNT_SECONDS = 5.0
"""So old a count may be: what others add meanwhile, uploads and other sources, is noticed after that."""
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


class Room:
    """What one run may add. After the first document that did not fit it takes no more new ones."""

    def __init__(self, db: Database, workspace_id: UUID, state: WorkspaceState) -> None:
        self._db = db
        self._workspace_id = workspace_id
        self._state = state
        self._lock = asyncio.Lock()
        self._counted_at = float("-inf")
        self._documents = 0
        self._bytes = 0
        self._full: str | None = None
        self.left_out = 0

    @property
    def is_full(self) -> bool:
        """Whether a document did not fit."""
        return self._full is not None

    @contextlib.asynccontextmanager
    async def for_document(self, size: int) -> AsyncIterator[bool]:
        """Whether a new document of this size fits. If so, `added` is to be called inside when it was added; only one is added
        at a time."""
        if self._state.max_documents is None and self._state.max_bytes is None:
            yield True
            return
        async with self._lock:
            await self._count()
            self._full = self._full or self._why_not(size)
            self.left_out += self.is_full
            yield not self.is_full

    def added(self, size: int) -> None:
        """A new document was added."""
        self._documents += 1
        self._bytes += size

    def leave_out(self) -> None:
        """A new document was not even fetched."""
        self.left_out += 1

    def note(self) -> str | None:
        """What a person should know of what was left out."""
        if self._full is None:
            return None
        were = "1 item was" if self.left_out == 1 else f"{self.left_out:,} items were"
        return f"{self._full}; {were} left out. Delete documents, or ask an administrator for more room."

    async def _count(self) -> None:
        if time.monotonic() - self._counted_at < COUNT_SECONDS:
            return
        async with self._db.read() as session:
            usage = await RecordRepository(session).usage(self._workspace_id)
        self._documents, self._bytes = usage.documents, usage.bytes
        self._counted_at = time.monotonic()

    def _why_not(self, size: int) -> str | None:
        documents, most = self._state.max_documents, self._state.max_bytes
        if documents is not None and self._documents + 1 > documents:
            return f"This workspace may have {documents:,} documents"
        if most is not None and self._bytes + size > most:
            return f"This workspace may hold {_in_units(most)} of files"
        return None


def _in_units(size: int) -> str:
    """As people say it, in powers of a thousand."""
    place = min(len(_UNITS) - 1, max(0, (len(str(size)) - 1) // 3))
    return f"{size / 1000**place:.3g} {_UNITS[place]}" if place else f"{size} bytes"

"""Registers uploads as they come: those that wait for each other's transaction share the next one.

Uploads are taken in the order in which they came, whoever they are of, and only what is registered gets its turn. One
transaction each made 43 a second beside the other work of the service: 10,000 files of one workspace, which the gateway takes
up in a minute, kept everybody's next file waiting for four.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging.consumer import AlreadyHandled, Delivery, shared_transaction
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.tombstones import WorkspaceErased
from docutalk_ingest.adapters.version_repository import NewUpload, VersionRepository
from docutalk_ingest.domain import KEPT_VERSIONS, Window
from docutalk_ingest.use_cases.register_document import register_document
from docutalk_ingest.use_cases.tell_progress import progress_of

log = get_logger(__name__)


@dataclass(eq=False)
class _Entry:
    """An upload that waits. `context` has its trace."""

    upload: NewUpload
    delivery: Delivery
    context: contextvars.Context
    done: bool = False
    duplicate: bool = False
    alone: bool = False


@dataclass
class UploadRegistrar:
    """One for a process; called for each message, by as many at once as the durable has."""

    window: Window
    storage: ObjectStorage
    keep_versions: int = KEPT_VERSIONS
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: deque[_Entry] = field(default_factory=deque)

    async def __call__(self, upload: DocumentUploaded, delivery: Delivery) -> None:
        """Queues each version once. Uploads of a known version or a deleted document change nothing; what was uploaded into a
        workspace that is erased goes."""
        if upload.version > 1:
            # It has to be weighed against what is known of the document.
            await self._register_alone(upload, delivery)
            return
        new = NewUpload.of(upload, delivery.envelope.time, delivery.cause)
        entry = _Entry(new, delivery, contextvars.copy_context())
        self._waiting.append(entry)
        try:
            # Held also by who registers alone: those that come meanwhile are to find each other.
            async with self._lock:
                if not entry.done:
                    together = [other for other in self._waiting if not other.alone]
                    if not entry.alone and len(together) > 1:
                        await self._register_together(together)
                    if not entry.done:
                        await self._register_alone(upload, delivery)
        finally:
            self._waiting.remove(entry)
        if entry.duplicate:
            raise AlreadyHandled

    async def _register_alone(self, upload: DocumentUploaded, delivery: Delivery) -> None:
        try:
            await register_document(upload, delivery, self.window, keep_versions=self.keep_versions)
        except WorkspaceErased:
            # The erasure looked before it came. The message counts as handled only afterwards.
            await self.storage.delete([upload.object_key])

    async def _register_together(self, entries: Sequence[_Entry]) -> None:
        """Of those that came in the meantime, whoever is first does the work for all."""
        try:
            async with shared_transaction([entry.delivery for entry in entries]) as (transaction, fresh):
                new = {id(delivery) for delivery in fresh}
                chosen = {entry.upload.document["document_id"]: entry for entry in entries if id(entry.delivery) in new}
                registered = await VersionRepository(transaction.session).register_new(
                    [entry.upload for entry in chosen.values()]
                )
                for document in registered:
                    entry = chosen[document.document_id]
                    transaction.cause = entry.delivery.cause
                    entry.context.run(transaction.emit, progress_of(document))
        except DependencyUnavailable:
            raise
        except WorkspaceErased as erased:
            for entry in entries:
                entry.alone = entry.upload.document["workspace_id"] in erased.workspace_ids
            return
        except Exception:
            # One of them cannot be stored, and nobody knows which: each finds out by itself.
            log.exception("uploads could not be registered together", count=len(entries))
            for entry in entries:
                entry.alone = True
            return
        for entry in entries:
            entry.done = True
            entry.duplicate = not entry.delivery.committed

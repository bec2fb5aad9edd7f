"""From the stored file to pages and batches of chunks: download, read in a process of its own, store in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid5

from docutalk_common.content_type import HEAD_BYTES, UNKNOWN
from docutalk_common.contracts.ingest import (
    Document,
    DocumentChunked,
    DocumentExtracted,
    DocumentFailed,
    DocumentReady,
    ExtractDocument,
)
from docutalk_common.db import Database, Transaction
from docutalk_common.errors import DependencyUnavailable, NotFound, PermanentError
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import MIB, ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.batch_repository import CHUNKS, BatchRepository, index_work
from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.extraction_repository import Begun, ExtractionRepository
from docutalk_ingest.adapters.isolated_parser import Extraction, IsolatedParser
from docutalk_ingest.adapters.speed_repository import SpeedRepository
from docutalk_ingest.adapters.version_repository import VersionRepository
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.domain import Batch, ExtractionSummary, ParseFailed, Window, Windows, chunk_id, gap_between
from docutalk_ingest.use_cases.tell_progress import progress_of

log = get_logger(__name__)

LOOK_SECONDS = 0.4
PROGRESS_SECONDS = 1.0
KEEP_SECONDS = 60.0
"""How often the document is said to be in work still, so that it is not taken for lost."""
PIECE_BYTES = 4 * MIB
LARGE_BYTES = 64 * MIB


class _NotWanted(Exception):
    """The document was cancelled or deleted, or a newer version or attempt of it has come."""


@dataclass(frozen=True)
class DocumentExtractor:
    db: Database
    storage: ObjectStorage
    parser: IsolatedParser
    work_folder: WorkFolder
    window: Window = Windows().batches
    """Of the batches that are handed out to embed."""

    async def __call__(self, work: ExtractDocument, delivery: Delivery) -> None:
        """Stores pages and batches, or marks the document failed. What is deleted, cancelled or done already is left alone,
        also when that happens meanwhile: then reading stops.

        Raises `PermanentError("object_missing")` when the file is gone from the object store.
        """
        begun = await self._begin(work, delivery)
        if begun is None:
            return
        document, started = begun.document, time.monotonic()
        async with self.work_folder.of_one_document() as folder:
            latest = _LatestCount()
            try:
                extraction = await self._while_wanted(self._read(begun, folder, latest), document, delivery, latest)
            except _NotWanted:
                return
            except ParseFailed as failure:
                await self._fail(document, failure, delivery)
                return
            batches, has_units = await cut_batches(document, extraction)
            if not batches and (document.version > 1 or document.attempt > 1):
                # Embed may hold passages of what was read before: an empty batch takes their place.
                batches = [Batch(0, 0, "[]")]
            unlocked_key = await self._keep_unlocked(document, extraction)
            async with delivery.transaction() as transaction:
                stored = await self._store(transaction, document, extraction, batches, unlocked_key, has_units=has_units)
                if stored:
                    summary, seconds = extraction.summary, time.monotonic() - started
                    await SpeedRepository(transaction.session).note_extraction(seconds, summary.page_count, summary.chunk_count)
        if unlocked_key is not None and not stored:
            await self._discard(unlocked_key)

    async def _begin(self, work: ExtractDocument, delivery: Delivery) -> Begun | None:
        async with self.db.transaction(delivery.cause) as transaction:
            begun = await ExtractionRepository(transaction.session).begin_extraction(work.document_id, work.version, work.attempt)
            if begun is not None:
                transaction.emit(progress_of(begun.document))
        return begun

    async def _read(self, begun: Begun, folder: Path, latest: _LatestCount) -> Extraction:
        source = folder / "source"
        await self._download(begun.document, source)
        return await self.parser.parse(source, begun.filename, folder, password=begun.password, on_progress=latest.note)

    async def _download(self, document: Document, path: Path) -> None:
        """In pieces, so that it can be stopped. Of a large file of a kind that nobody knows the first bytes are enough: it is
        refused by them, and two gigabytes would only keep the disk from others."""
        unknown = document.content_type == UNKNOWN and document.size > LARGE_BYTES
        length = HEAD_BYTES if unknown else None
        with await asyncio.to_thread(path.open, "wb") as file:
            if document.size == 0:
                return
            try:
                async for piece in self.storage.iterate(document.object_key, length=length, chunk_size=PIECE_BYTES):
                    await asyncio.to_thread(file.write, piece)
            except NotFound as error:
                if not await self._is_wanted(document):
                    raise _NotWanted from error
                raise PermanentError("The stored file is missing. Upload it again.", code="object_missing") from error

    async def _while_wanted(
        self, reading: Coroutine[Any, Any, Extraction], document: Document, delivery: Delivery, latest: _LatestCount
    ) -> Extraction:
        """What is read, as long as somebody waits for it. Raises `_NotWanted` half a second after nobody does, and whatever
        reading raises; the reader has been told to end by then."""
        task = asyncio.create_task(reading)
        told = kept = time.monotonic()
        try:
            while True:
                await asyncio.wait({task}, timeout=LOOK_SECONDS)
                if task.done():
                    return task.result()
                now = time.monotonic()
                # What cannot be looked up or told now is not worth stopping for: the end will wait for PostgreSQL.
                with contextlib.suppress(DependencyUnavailable):
                    if not await self._is_wanted(document):
                        raise _NotWanted
                    if latest.done and now - told >= PROGRESS_SECONDS:
                        told = now
                        await self._tell(document, delivery, latest)
                    if now - kept >= KEEP_SECONDS:
                        kept = now
                        async with self.db.transaction(delivery.cause) as transaction:
                            await ExtractionRepository(transaction.session).keep_released(document)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _is_wanted(self, document: Document) -> bool:
        async with self.db.read() as session:
            return await ExtractionRepository(session).is_wanted(document)

    async def _tell(self, document: Document, delivery: Delivery, latest: _LatestCount) -> None:
        async with self.db.transaction(delivery.cause) as transaction:
            moved = await ExtractionRepository(transaction.session).note_pages_done(document, latest.done, latest.of)
            if moved is not None:
                transaction.emit(progress_of(moved))

    async def _fail(self, document: Document, failure: ParseFailed, delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            failed = await DocumentRepository(transaction.session).mark_failed(
                document.document_id, document.version, failure.code, failure.reason, attempt=document.attempt
            )
            if failed is not None:
                transaction.emit(
                    DocumentFailed(
                        workspace_id=document.workspace_id,
                        document_id=document.document_id,
                        version=document.version,
                        code=failure.code,
                        reason=failed.reason or failure.reason,
                    )
                )

    async def _keep_unlocked(self, document: Document, extraction: Extraction) -> str | None:
        """Stores the copy of an encrypted file without its protection. Its key is the same for an attempt: when its message
        comes again, it is replaced."""
        path = extraction.unlocked
        if path is None:
            return None
        name = uuid5(document.document_id, f"{document.version}/{document.attempt}/unlocked")
        key = f"{document.workspace_id}/{document.document_id}/{name}{path.suffix or '.pdf'}"
        await self.storage.upload_stream(key, _pieces(path), content_type=extraction.summary.content_type)
        return key

    async def _discard(self, unlocked_key: str) -> None:
        """Removes a copy that nobody wants: not the one of another delivery of this message, which was faster."""
        async with self.db.read() as session:
            if await VersionRepository(session).known_objects([unlocked_key]):
                return
        await self.storage.delete([unlocked_key])

    async def _store(
        self,
        transaction: Transaction,
        document: Document,
        extraction: Extraction,
        batches: list[Batch],
        unlocked_key: str | None,
        *,
        has_units: bool,
    ) -> bool:
        """Whether it was stored: not when the document was deleted or cancelled, or another delivery was faster."""
        repository = ExtractionRepository(transaction.session)
        if await repository.lock_for_extraction(document) is None:
            return False
        connection = await transaction.connection()
        await repository.store_pages(connection, document.document_id, document.version, extraction.pages())
        if has_units:
            await repository.store_units(connection, document.document_id, document.version, extraction.pages())
        waiting = BatchRepository(transaction.session)
        room, alone = await waiting.room_for_batches(document.workspace_id, self.window) if batches else (0, False)
        await waiting.store_batches(connection, document, batches, released=room)
        summary = replace(extraction.summary, batch_count=len(batches))
        code, reason = _about_unreadable(summary)
        stored = await repository.finish_extraction(
            document, summary, code=code, reason=reason, unlocked_key=unlocked_key, cause=transaction.cause
        )
        assert stored is not None, "the row is locked"
        about: dict[str, Any] = document.model_dump(include={"workspace_id", "document_id", "version"})
        transaction.emit(DocumentExtracted(**about, page_count=summary.page_count, characters=summary.characters))
        transaction.emit(DocumentChunked(**about, chunk_count=summary.chunk_count, batch_count=summary.batch_count))
        if batches:
            transaction.emit(progress_of(stored))
            for place, batch in enumerate(batches[:room]):
                chunks = CHUNKS.validate_json(batch.chunks)
                express = alone and place == 0
                transaction.emit(index_work(stored, summary.batch_count, batch.number, chunks, express=express))
        else:
            transaction.emit(DocumentReady(**about, page_count=summary.page_count, chunk_count=0))
        return True


@dataclass
class _LatestCount:
    done: int = 0
    of: int | None = None

    def note(self, done: int, of: int | None) -> None:
        self.done, self.of = done, of


async def cut_batches(document: Document, extraction: Extraction) -> tuple[list[Batch], bool]:
    """The document's chunks in the batches in which they travel, in order; and whether any page has units."""
    made: list[Batch] = []
    number, ordinal, has_units = 0, 0, False
    chunks: list[str] = []
    async for page in extraction.pages():
        has_units = has_units or bool(page.units)
        end_before: int | None = None
        for start, end, of_batch in page.chunks:
            if of_batch != number:
                made.append(Batch(number, len(chunks), f"[{','.join(chunks)}]"))
                number, chunks = of_batch, []
                # A book has hundreds of them, and others wait for this loop.
                await asyncio.sleep(0)
            chunk = {
                "chunk_id": str(chunk_id(document.document_id, document.version, ordinal)),
                "ordinal": ordinal,
                "page": page.number,
                "start": start,
                "end": end,
                "text": page.text[start:end],
                "gap": gap_between(page.text, end_before, start),
            }
            end_before = end
            chunks.append(json.dumps(chunk, ensure_ascii=False))
            ordinal += 1
    if chunks:
        made.append(Batch(number, len(chunks), f"[{','.join(chunks)}]"))
    return made, has_units


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


def _about_unreadable(summary: ExtractionSummary) -> tuple[str | None, str | None]:
    pages = summary.unreadable
    if not pages:
        return None, None
    some = ", ".join(str(page) for page in pages[:10]) + (", …" if len(pages) > 10 else "")
    if summary.problem:
        return "pages_unreadable", f"{summary.problem} Not read: {some}. The other pages can be searched."
    return "pages_unreadable", f"{len(pages)} damaged pages could not be read: {some}. The others can be searched."

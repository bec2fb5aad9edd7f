"""From the stored file to pages and chunks: download, read in a process of its own, store in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutalk_common.contracts.ingest import (
    Chunk,
    Document,
    DocumentChunked,
    DocumentExtracted,
    DocumentFailed,
    DocumentReady,
    ExtractDocument,
    IndexChunks,
)
from docutalk_common.db import Database, Transaction
from docutalk_common.errors import DependencyUnavailable, NotFound, PermanentError
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.isolated_parser import Extraction, IsolatedParser
from docutalk_ingest.adapters.repository import DocumentRepository
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.domain import ParseFailed, chunk_id
from docutalk_ingest.use_cases.tell_progress import progress_of

log = get_logger(__name__)

PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class DocumentExtractor:
    db: Database
    storage: ObjectStorage
    parser: IsolatedParser
    work_folder: WorkFolder

    async def __call__(self, work: ExtractDocument, delivery: Delivery) -> None:
        """Stores pages and emits the chunks, or marks the document failed. What is deleted or done already is left alone.

        Raises `PermanentError("object_missing")` when the file is gone from the object store.
        """
        document = await self._begin(work, delivery)
        if document is None:
            return
        async with self.work_folder.of_one_document() as folder:
            try:
                await self._download(document, folder / "source")
                async with self._telling_progress(document, delivery) as progress:
                    extraction = await self.parser.parse(folder / "source", document.filename, folder, on_progress=progress.note)
            except ParseFailed as failure:
                await self._fail(document, failure, delivery)
                return
            batches = [batch async for batch in index_batches(document, extraction)]
            async with delivery.transaction() as transaction:
                await self._store(transaction, document, extraction, batches)

    async def _begin(self, work: ExtractDocument, delivery: Delivery) -> Document | None:
        async with self.db.transaction(delivery.cause) as transaction:
            document = await DocumentRepository(transaction.session).begin_extraction(work.document_id, work.version)
            if document is not None:
                transaction.emit(progress_of(document))
        return document

    async def _download(self, document: Document, path: Path) -> None:
        if document.size == 0:
            await asyncio.to_thread(path.touch)
            return
        try:
            await self.storage.download(document.object_key, path)
        except NotFound as error:
            async with self.db.read() as session:
                if await DocumentRepository(session).get(document.workspace_id, document.document_id) is None:
                    # Deleted while its work was waiting: nothing is missed, and `_fail` finds nothing to change.
                    raise ParseFailed("deleted", "The document was deleted.") from error
            raise PermanentError("The stored file is missing. Upload it again.", code="object_missing") from error

    async def _fail(self, document: Document, failure: ParseFailed, delivery: Delivery) -> None:
        async with delivery.transaction() as transaction:
            failed = await DocumentRepository(transaction.session).mark_failed(
                document.document_id, document.version, failure.code, failure.reason
            )
            if failed is not None:
                transaction.emit(
                    DocumentFailed(
                        workspace_id=document.workspace_id,
                        document_id=document.document_id,
                        version=document.version,
                        code=failure.code,
                        reason=failure.reason,
                    )
                )

    async def _store(
        self, transaction: Transaction, document: Document, extraction: Extraction, batches: list[IndexChunks]
    ) -> None:
        repository = DocumentRepository(transaction.session)
        about: dict[str, Any] = document.model_dump(include={"workspace_id", "document_id", "version"})
        if await repository.lock_for_extraction(document.document_id, document.version) is None:
            return  # deleted, or another delivery was faster
        await repository.store_pages(await transaction.connection(), document.document_id, document.version, extraction.pages())
        summary = extraction.summary
        code, reason = _about_unreadable(summary.unreadable)
        stored = await repository.finish_extraction(document.document_id, document.version, summary, code=code, reason=reason)
        assert stored is not None, "the row is locked"
        transaction.emit(DocumentExtracted(**about, page_count=summary.page_count, characters=summary.characters))
        transaction.emit(DocumentChunked(**about, chunk_count=summary.chunk_count, batch_count=summary.batch_count))
        if not batches:
            transaction.emit(DocumentReady(**about, page_count=summary.page_count, chunk_count=0))
            return
        transaction.emit(progress_of(stored))
        for batch in batches:
            transaction.emit(batch)
            # Writing a message takes a millisecond or more: a book has hundreds, and others wait for this loop.
            await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def _telling_progress(self, document: Document, delivery: Delivery) -> AsyncIterator[_LatestCount]:
        latest = _LatestCount()
        task = asyncio.create_task(self._tell(document, delivery, latest))
        try:
            yield latest
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tell(self, document: Document, delivery: Delivery, latest: _LatestCount) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            if not latest.done:
                continue
            # Progress that cannot be stored is not worth stopping for: the end of the extraction will wait for PostgreSQL.
            with contextlib.suppress(DependencyUnavailable):
                async with self.db.transaction(delivery.cause) as transaction:
                    moved = await DocumentRepository(transaction.session).note_pages_done(
                        document.document_id, document.version, latest.done, latest.of
                    )
                    if moved is not None:
                        transaction.emit(progress_of(moved))


@dataclass
class _LatestCount:
    done: int = 0
    of: int | None = None

    def note(self, done: int, of: int | None) -> None:
        self.done, self.of = done, of


async def index_batches(document: Document, extraction: Extraction) -> AsyncIterator[IndexChunks]:
    """The document's chunks as work for embed, in order."""
    summary = extraction.summary
    number, ordinal = 0, 0
    chunks: list[Chunk] = []

    def batch() -> IndexChunks:
        return IndexChunks(
            workspace_id=document.workspace_id,
            document_id=document.document_id,
            version=document.version,
            filename=document.filename,
            content_type=summary.content_type,
            document_created_at=document.created_at,
            batch=number,
            batch_count=summary.batch_count,
            chunk_count=summary.chunk_count,
            chunks=chunks,
        )

    async for page in extraction.pages():
        for start, end, of_batch in page.chunks:
            if of_batch != number:
                yield batch()
                number, chunks = of_batch, []
                await asyncio.sleep(0)
            chunks.append(
                Chunk(
                    chunk_id=chunk_id(document.document_id, document.version, ordinal),
                    ordinal=ordinal,
                    page=page.number,
                    start=start,
                    end=end,
                    text=page.text[start:end],
                )
            )
            ordinal += 1
    if chunks:
        yield batch()


def _about_unreadable(pages: list[int]) -> tuple[str | None, str | None]:
    if not pages:
        return None, None
    some = ", ".join(str(page) for page in pages[:10]) + (", …" if len(pages) > 10 else "")
    return "pages_unreadable", f"{len(pages)} damaged pages could not be read: {some}. The others can be searched."

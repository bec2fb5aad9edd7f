"""What ingest is made of, in the order in which it starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from docutalk_common.db import Database
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.process import cancel_all
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.dispatcher import Dispatcher, Window, Windows
from docutalk_ingest.adapters.isolated_parser import IsolatedParser, Limits
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.consumers.dead_letter_received import dead_letter_received
from docutalk_ingest.consumers.embed_chunks_indexed import embed_chunks_indexed
from docutalk_ingest.consumers.embed_document_indexed import embed_document_indexed
from docutalk_ingest.consumers.gateway_document_uploaded import gateway_document_uploaded
from docutalk_ingest.consumers.ingest_document_deleted import ingest_document_deleted
from docutalk_ingest.consumers.ingest_document_extract import ingest_document_extract
from docutalk_ingest.consumers.ingest_document_pruned import ingest_document_pruned
from docutalk_ingest.consumers.request_document_cancel import request_document_cancel
from docutalk_ingest.consumers.request_document_change import request_document_change
from docutalk_ingest.consumers.request_document_delete import request_document_delete
from docutalk_ingest.consumers.request_document_get import request_document_get
from docutalk_ingest.consumers.request_document_list import request_document_list
from docutalk_ingest.consumers.request_document_rename import request_document_rename
from docutalk_ingest.consumers.request_document_retry import request_document_retry
from docutalk_ingest.consumers.request_object_known import request_object_known
from docutalk_ingest.consumers.request_page_get import request_page_get
from docutalk_ingest.consumers.request_progress_get import request_progress_get
from docutalk_ingest.consumers.request_version_list import request_version_list
from docutalk_ingest.settings import IngestSettings
from docutalk_ingest.use_cases.extract_document import DocumentExtractor


def subscribe(
    broker: MessageBroker, settings: IngestSettings, db: Database, storage: ObjectStorage, extract: DocumentExtractor
) -> None:
    """Everything that ingest takes."""
    slots = settings.extract_slots
    broker.consume("ingest-document-uploaded", gateway_document_uploaded(settings.keep_versions))
    broker.consume("ingest-document-extract", ingest_document_extract(extract))
    broker.consume("ingest-chunks-indexed", embed_chunks_indexed)
    broker.consume("ingest-document-indexed", embed_document_indexed)
    broker.consume("ingest-dead-letter", dead_letter_received)
    broker.consume("ingest-document-deleted", ingest_document_deleted(storage))
    broker.consume("ingest-document-pruned", ingest_document_pruned(storage))
    broker.answer("rpc.ingest.v1.document.list", request_document_list(db, slots))
    broker.answer("rpc.ingest.v1.document.get", request_document_get(db, slots))
    broker.answer("rpc.ingest.v1.document.delete", request_document_delete(db))
    broker.answer("rpc.ingest.v1.document.cancel", request_document_cancel(db))
    broker.answer("rpc.ingest.v1.document.retry", request_document_retry(db))
    broker.answer("rpc.ingest.v1.document.rename", request_document_rename(db))
    broker.answer("rpc.ingest.v1.document.change", request_document_change(db))
    broker.answer("rpc.ingest.v1.version.list", request_version_list(db))
    broker.answer("rpc.ingest.v1.progress.get", request_progress_get(db, slots))
    broker.answer("rpc.ingest.v1.object.known", request_object_known(db))
    broker.answer("rpc.ingest.v1.page.get", request_page_get(db))


def _windows(settings: IngestSettings) -> Windows:
    return Windows(
        documents=Window(settings.extract_slots, settings.extract_reserve),
        batches=Window(settings.index_window, settings.index_reserve),
        lost_after=timedelta(seconds=settings.lost_after_seconds),
    )


@contextlib.asynccontextmanager
async def ingest(settings: IngestSettings, *, on_fatal: Callable[[str], None] | None = None) -> AsyncIterator[Database]:
    """The running service: parser, database, storage, broker, dispatcher; stopped in reverse. Yields its database."""
    db = Database(settings.postgres_dsn.get_secret_value(), schema="ingest", pool_size=settings.postgres_pool_size)
    storage = ObjectStorage(settings)
    parser = IsolatedParser(
        limits=Limits(
            memory_bytes=settings.parser_memory_bytes,
            cpu_seconds=settings.parser_cpu_seconds,
            wall_seconds=settings.parser_wall_seconds,
            file_bytes=settings.parser_file_bytes,
        ),
        overlap=settings.chunk_overlap,
    )
    work_folder = WorkFolder(settings.work_folder)
    broker = MessageBroker(settings, service="ingest", db=db, dependencies={"storage": storage.ping}, on_fatal=on_fatal)
    subscribe(broker, settings, db, storage, DocumentExtractor(db, storage, parser, work_folder))
    dispatcher = Dispatcher(db, _windows(settings))
    dispatching: asyncio.Task[None] | None = None
    # Loading the parsers takes a second; the first document waits for it if need be, everything else does not.
    warming = asyncio.create_task(parser.start())
    try:
        await work_folder.clear()
        await broker.start()
        dispatching = asyncio.create_task(dispatcher.run(), name="dispatcher")
        yield db
    finally:
        if dispatching is not None:
            await cancel_all([dispatching])
        await broker.stop()
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await parser.close()
        storage.close()
        await db.close()

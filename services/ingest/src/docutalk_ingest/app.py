"""What ingest is made of, in the order in which it starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from docutalk_common.db import Database
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.isolated_parser import IsolatedParser, Limits
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.consumers.dead_letter_received import dead_letter_received
from docutalk_ingest.consumers.embed_chunks_indexed import embed_chunks_indexed
from docutalk_ingest.consumers.embed_document_indexed import embed_document_indexed
from docutalk_ingest.consumers.gateway_document_uploaded import gateway_document_uploaded
from docutalk_ingest.consumers.ingest_document_deleted import ingest_document_deleted
from docutalk_ingest.consumers.ingest_document_extract import ingest_document_extract
from docutalk_ingest.consumers.request_document_delete import request_document_delete
from docutalk_ingest.consumers.request_document_get import request_document_get
from docutalk_ingest.consumers.request_document_list import request_document_list
from docutalk_ingest.consumers.request_page_get import request_page_get
from docutalk_ingest.settings import IngestSettings
from docutalk_ingest.use_cases.extract_document import DocumentExtractor


def subscribe(broker: MessageBroker, db: Database, storage: ObjectStorage, extract: DocumentExtractor) -> None:
    """Everything that ingest takes."""
    broker.consume("ingest-document-uploaded", gateway_document_uploaded)
    broker.consume("ingest-document-extract", ingest_document_extract(extract))
    broker.consume("ingest-chunks-indexed", embed_chunks_indexed)
    broker.consume("ingest-document-indexed", embed_document_indexed)
    broker.consume("ingest-dead-letter", dead_letter_received)
    broker.consume("ingest-document-deleted", ingest_document_deleted(storage))
    broker.answer("rpc.ingest.v1.document.list", request_document_list(db))
    broker.answer("rpc.ingest.v1.document.get", request_document_get(db))
    broker.answer("rpc.ingest.v1.document.delete", request_document_delete(db))
    broker.answer("rpc.ingest.v1.page.get", request_page_get(db))


@contextlib.asynccontextmanager
async def ingest(settings: IngestSettings, *, on_fatal: Callable[[str], None] | None = None) -> AsyncIterator[Database]:
    """The running service: parser, database, storage, broker; stopped in reverse. Yields its database."""
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
    subscribe(broker, db, storage, DocumentExtractor(db, storage, parser, work_folder))
    # Loading the parsers takes a second; the first document waits for it if need be, everything else does not.
    warming = asyncio.create_task(parser.start())
    try:
        await work_folder.clear()
        await broker.start()
        yield db
    finally:
        await broker.stop()
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await parser.close()
        storage.close()
        await db.close()

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

from docutalk_ingest.adapters.addresses import EVERYWHERE, AddressBook, networks
from docutalk_ingest.adapters.dispatcher import Dispatcher
from docutalk_ingest.adapters.fetcher import Fetcher, FetchLimits
from docutalk_ingest.adapters.isolated_parser import IsolatedParser, Limits
from docutalk_ingest.adapters.page_viewer import PageViewer
from docutalk_ingest.adapters.schedules import Schedules
from docutalk_ingest.adapters.sources.item import Reach
from docutalk_ingest.adapters.sources.web_search import SearxngSearch
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.adapters.workspaces import Workspaces
from docutalk_ingest.consumers.dead_letter_received import dead_letter_received
from docutalk_ingest.consumers.embed_chunks_indexed import embed_chunks_indexed
from docutalk_ingest.consumers.embed_document_indexed import embed_document_indexed
from docutalk_ingest.consumers.gateway_document_uploaded import gateway_document_uploaded
from docutalk_ingest.consumers.gateway_user_deleted import gateway_user_deleted
from docutalk_ingest.consumers.gateway_workspace_deleted import gateway_workspace_deleted
from docutalk_ingest.consumers.ingest_document_deleted import ingest_document_deleted
from docutalk_ingest.consumers.ingest_document_extract import ingest_document_extract
from docutalk_ingest.consumers.ingest_document_pruned import ingest_document_pruned
from docutalk_ingest.consumers.ingest_source_collect import ingest_source_collect
from docutalk_ingest.consumers.ingest_source_due import ingest_source_due
from docutalk_ingest.consumers.request_document_cancel import request_document_cancel
from docutalk_ingest.consumers.request_document_change import request_document_change
from docutalk_ingest.consumers.request_document_delete import request_document_delete
from docutalk_ingest.consumers.request_document_get import request_document_get
from docutalk_ingest.consumers.request_document_list import request_document_list
from docutalk_ingest.consumers.request_document_rename import request_document_rename
from docutalk_ingest.consumers.request_document_retry import request_document_retry
from docutalk_ingest.consumers.request_object_known import request_object_known
from docutalk_ingest.consumers.request_page_boxes import request_page_boxes
from docutalk_ingest.consumers.request_page_get import request_page_get
from docutalk_ingest.consumers.request_page_render import request_page_render
from docutalk_ingest.consumers.request_progress_get import request_progress_get
from docutalk_ingest.consumers.request_record_known import request_record_known
from docutalk_ingest.consumers.request_source_change import request_source_change
from docutalk_ingest.consumers.request_source_create import request_source_create
from docutalk_ingest.consumers.request_source_delete import request_source_delete
from docutalk_ingest.consumers.request_source_get import request_source_get
from docutalk_ingest.consumers.request_source_list import request_source_list
from docutalk_ingest.consumers.request_source_run import request_source_run
from docutalk_ingest.consumers.request_source_runs import request_source_runs
from docutalk_ingest.consumers.request_unit_list import request_unit_list
from docutalk_ingest.consumers.request_version_list import request_version_list
from docutalk_ingest.consumers.request_workspace_export import request_workspace_export
from docutalk_ingest.consumers.request_workspace_import import request_workspace_import
from docutalk_ingest.consumers.request_workspace_usage import request_workspace_usage
from docutalk_ingest.domain import Window, Windows
from docutalk_ingest.settings import IngestSettings
from docutalk_ingest.use_cases.collect_source import SourceCollector
from docutalk_ingest.use_cases.erase_workspace import WorkspaceEraser
from docutalk_ingest.use_cases.extract_document import DocumentExtractor
from docutalk_ingest.use_cases.keep_sources import SourceKeeper
from docutalk_ingest.use_cases.register_uploads import UploadRegistrar


def subscribe(
    broker: MessageBroker, settings: IngestSettings, db: Database, storage: ObjectStorage, extract: DocumentExtractor
) -> None:
    """Everything that ingest takes."""
    slots = settings.extract_slots
    registrar = UploadRegistrar(_windows(settings).documents, storage, settings.keep_versions)
    broker.consume("ingest-document-uploaded", gateway_document_uploaded(registrar))
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


def subscribe_views(broker: MessageBroker, db: Database, storage: ObjectStorage, viewer: PageViewer) -> None:
    """What of it is about looking at pages."""
    broker.answer("rpc.ingest.v1.page.boxes", request_page_boxes(db, viewer))
    broker.answer("rpc.ingest.v1.page.render", request_page_render(db, storage, viewer))
    broker.answer("rpc.ingest.v1.unit.list", request_unit_list(db))


def subscribe_sources(
    broker: MessageBroker, settings: IngestSettings, db: Database, collect: SourceCollector, keeper: SourceKeeper
) -> None:
    """What of it is about sources."""
    shortest = settings.source_min_interval_seconds
    broker.consume("ingest-source-due", ingest_source_due(keeper.wake))
    broker.consume("ingest-source-collect", ingest_source_collect(collect))
    broker.answer("rpc.ingest.v1.source.create", request_source_create(db, keeper.wake, shortest))
    broker.answer("rpc.ingest.v1.source.list", request_source_list(db))
    broker.answer("rpc.ingest.v1.source.get", request_source_get(db))
    broker.answer("rpc.ingest.v1.source.change", request_source_change(db, keeper.wake, shortest))
    broker.answer("rpc.ingest.v1.source.delete", request_source_delete(db, keeper.wake))
    broker.answer("rpc.ingest.v1.source.run", request_source_run(db))
    broker.answer("rpc.ingest.v1.source.runs", request_source_runs(db))


def subscribe_workspaces(
    broker: MessageBroker, settings: IngestSettings, db: Database, erase: WorkspaceEraser, keeper: SourceKeeper
) -> None:
    """What of it is about a workspace as a whole, or about somebody's account."""
    broker.consume("ingest-workspace-deleted", gateway_workspace_deleted(erase))
    broker.consume("ingest-user-deleted", gateway_user_deleted(db))
    broker.answer("rpc.ingest.v1.workspace.usage", request_workspace_usage(db))
    broker.answer("rpc.ingest.v1.workspace.export", request_workspace_export(db))
    shortest = settings.source_min_interval_seconds
    broker.answer("rpc.ingest.v1.workspace.import", request_workspace_import(db, keeper.wake, shortest))
    broker.answer("rpc.ingest.v1.record.known", request_record_known(db))


def _windows(settings: IngestSettings) -> Windows:
    return Windows(
        documents=Window(settings.extract_slots, settings.extract_reserve),
        batches=Window(settings.index_window, settings.index_reserve),
        lost_after=timedelta(seconds=settings.lost_after_seconds),
    )


@contextlib.asynccontextmanager
async def _reach(settings: IngestSettings) -> AsyncIterator[Reach]:
    """The web, as far as sources may go; and the search provider, which the operator names and which may stand inside."""
    limits = FetchLimits(
        body_bytes=settings.source_max_bytes,
        total_seconds=settings.source_fetch_seconds,
        pause_seconds=settings.source_pause_seconds,
    )
    web = Fetcher(limits, book=AddressBook(allow=networks(settings.source_allow_networks)))
    inside = Fetcher(limits, book=AddressBook(allow=EVERYWHERE), obey_robots=False)
    key = settings.search_api_key.get_secret_value() if settings.search_api_key else None
    search = SearxngSearch(settings.search_url, key, inside) if settings.search_url else None
    try:
        yield Reach(web, search, settings.source_max_items)
    finally:
        await web.close()
        await inside.close()


def _parser(settings: IngestSettings) -> IsolatedParser:
    limits = Limits(
        memory_bytes=settings.parser_memory_bytes,
        cpu_seconds=settings.parser_cpu_seconds,
        wall_seconds=settings.parser_wall_seconds,
        file_bytes=settings.parser_file_bytes,
        ocr_pages=settings.ocr_max_pages,
    )
    return IsolatedParser(limits=limits, max_tokens=settings.chunk_tokens, overlap=settings.chunk_overlap)


@contextlib.asynccontextmanager
async def ingest(
    settings: IngestSettings, *, parser: IsolatedParser | None = None, on_fatal: Callable[[str], None] | None = None
) -> AsyncIterator[Database]:
    """The running service: parser, database, storage, broker, dispatcher; stopped in reverse. Yields its database.

    `parser`: one that the caller closes, for services that start one after the other in one process.
    """
    db = Database(settings.postgres_dsn.get_secret_value(), schema="ingest", pool_size=settings.postgres_pool_size)
    storage = ObjectStorage(settings)
    lent, parser = parser, parser or _parser(settings)
    work_folder = WorkFolder(settings.work_folder)
    windows = _windows(settings)
    viewer = PageViewer(storage, parser, work_folder, cache_bytes=settings.view_cache_bytes)
    broker = MessageBroker(settings, service="ingest", db=db, dependencies={"storage": storage.ping}, on_fatal=on_fatal)
    subscribe(broker, settings, db, storage, DocumentExtractor(db, storage, parser, work_folder, windows.batches))
    subscribe_views(broker, db, storage, viewer)
    dispatcher = Dispatcher(db, windows)
    schedules = Schedules(lambda: broker.js)
    keeper = SourceKeeper(db, schedules)
    subscribe_workspaces(broker, settings, db, WorkspaceEraser(db, storage, schedules), keeper)
    running: list[asyncio.Task[None]] = []
    # Loading the parsers takes a second; the first document waits for it if need be, everything else does not.
    warming = asyncio.create_task(parser.start())
    reaching = contextlib.AsyncExitStack()
    try:
        reach = await reaching.enter_async_context(_reach(settings))
        collector = SourceCollector(db, storage, reach, Workspaces(broker.requests), settings.keep_versions)
        subscribe_sources(broker, settings, db, collector, keeper)
        await work_folder.clear()
        await broker.start()
        running += [asyncio.create_task(dispatcher.run(), name="dispatcher"), asyncio.create_task(keeper.run(), name="sources")]
        yield db
    finally:
        await cancel_all(running)
        await broker.stop()
        await reaching.aclose()
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await viewer.close()
        if lent is None:
            await parser.close()
        storage.close()
        await db.close()

"""What embed is made of, in the order in which it starts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

from docutalk_common.db import Database
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.process import Runtime, cancel_all
from docutalk_common.telemetry import get_logger
from pgvector.asyncpg import register_vector

from docutalk_embed.adapters.batcher import Engine, MicroBatcher, Processor
from docutalk_embed.adapters.gazetteer import load_gazetteer
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.model_registry import MODEL_DEPENDENCY, ModelRegistry
from docutalk_embed.adapters.processors import available_processors
from docutalk_embed.adapters.providers import Providers
from docutalk_embed.adapters.vector_filler import VectorFiller
from docutalk_embed.consumers.gateway_user_deleted import gateway_user_deleted
from docutalk_embed.consumers.gateway_workspace_deleted import gateway_workspace_deleted
from docutalk_embed.consumers.ingest_chunks_express import ingest_chunks_express
from docutalk_embed.consumers.ingest_chunks_index import ingest_chunks_index
from docutalk_embed.consumers.ingest_document_cancelled import ingest_document_cancelled
from docutalk_embed.consumers.ingest_document_deleted import ingest_document_deleted
from docutalk_embed.consumers.ingest_document_renamed import ingest_document_renamed
from docutalk_embed.consumers.request_change_list import request_change_list
from docutalk_embed.consumers.request_change_start import request_change_start
from docutalk_embed.consumers.request_change_step import request_change_step
from docutalk_embed.consumers.request_document_similar import request_document_similar
from docutalk_embed.consumers.request_model_list import request_model_list
from docutalk_embed.consumers.request_model_register import request_model_register
from docutalk_embed.consumers.request_model_remove import request_model_remove
from docutalk_embed.consumers.request_passage_compare import request_passage_compare
from docutalk_embed.consumers.request_passage_search import request_passage_search
from docutalk_embed.consumers.request_place_list import request_place_list
from docutalk_embed.consumers.request_settings_change import request_settings_change
from docutalk_embed.consumers.request_settings_get import request_settings_get
from docutalk_embed.consumers.request_text_embed import request_text_embed
from docutalk_embed.settings import EmbedSettings
from docutalk_embed.use_cases.ask_model import ask_model, load_serving

log = get_logger(__name__)


def open_database(settings: EmbedSettings) -> Database:
    """The schema of embed, on connections that know pgvector's types."""
    return Database(
        settings.postgres_dsn.get_secret_value(),
        schema="embed",
        pool_size=settings.postgres_pool_size,
        on_connect=register_vector,
    )


def subscribe(broker: MessageBroker, db: Database, registry: ModelRegistry) -> None:
    """Everything that embed takes."""
    broker.consume("embed-chunks-index", ingest_chunks_index(registry))
    broker.consume("embed-chunks-express", ingest_chunks_express(registry))
    broker.consume("embed-document-cancelled", ingest_document_cancelled)
    broker.consume("embed-document-renamed", ingest_document_renamed)
    broker.consume("embed-document-deleted", ingest_document_deleted)
    broker.consume("embed-workspace-deleted", gateway_workspace_deleted)
    broker.consume("embed-user-deleted", gateway_user_deleted)
    broker.answer("rpc.embed.v1.passage.search", request_passage_search(db, registry))
    broker.answer("rpc.embed.v1.passage.compare", request_passage_compare(db, registry))
    broker.answer("rpc.embed.v1.document.similar", request_document_similar(db))
    broker.answer("rpc.embed.v1.settings.get", request_settings_get(db))
    broker.answer("rpc.embed.v1.settings.change", request_settings_change(db))
    broker.answer("rpc.embed.v1.text.embed", request_text_embed(registry))
    broker.answer("rpc.embed.v1.place.list", request_place_list(db))
    broker.answer("rpc.embed.v1.model.list", request_model_list(db, registry))
    broker.answer("rpc.embed.v1.model.register", request_model_register(db, registry))
    broker.answer("rpc.embed.v1.model.remove", request_model_remove(db, registry))
    broker.answer("rpc.embed.v1.change.start", request_change_start(db))
    broker.answer("rpc.embed.v1.change.list", request_change_list(db))
    broker.answer("rpc.embed.v1.change.step", request_change_step(db, registry))


@contextlib.asynccontextmanager
async def embed(settings: EmbedSettings, runtime: Runtime, engine: Engine | None = None) -> AsyncIterator[None]:
    """The running service: model (loaded here unless one is given), database, broker; stopped in reverse."""
    threads = settings.embed_threads or available_processors()
    if engine is None:
        built_in: Engine
        built_in, _ = await asyncio.gather(
            asyncio.to_thread(MiniLM, threads=threads, precision=settings.embed_precision), asyncio.to_thread(load_gazetteer)
        )
    else:
        built_in = engine
    processor = Processor()
    batcher = MicroBatcher(built_in, processor)
    providers = Providers(settings, processor, threads=threads)
    log.info("providers of models", **providers.summary())
    registry = ModelRegistry(batcher, providers.openers, providers.missing)
    db = open_database(settings)
    broker = MessageBroker(
        settings,
        service="embed",
        db=db,
        dependencies={MODEL_DEPENDENCY: functools.partial(ask_model, db, registry)},
        on_fatal=runtime.fail,
    )
    subscribe(broker, db, registry)
    async with batcher.running():
        try:
            await load_serving(db, registry)
            await broker.start()
            filling = asyncio.create_task(VectorFiller(db, registry).run(), name="filler")
            try:
                yield
            finally:
                await cancel_all([filling])
        finally:
            await broker.stop()
            await registry.close()
            await providers.close()
            await db.close()

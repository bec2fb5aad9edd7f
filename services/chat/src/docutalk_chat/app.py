"""The composition root: what chat is made of, from top to bottom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from docutalk_common.db import Database
from docutalk_common.llm import Endpoint, connect, detect_ollama
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.process import cancel_all
from docutalk_common.telemetry import get_logger

from docutalk_chat.adapters.answerers import Answerers
from docutalk_chat.adapters.extractive import ExtractiveAnswerer
from docutalk_chat.adapters.language_model import ModelAnswerer
from docutalk_chat.adapters.library import Library
from docutalk_chat.adapters.stop_watch import StopWatch
from docutalk_chat.consumers import (
    dead_letter_received,
    gateway_message_posted,
    gateway_user_deleted,
    gateway_workspace_deleted,
    ingest_document_deleted,
    ingest_document_ready,
    request_answer_get,
    request_answer_rate,
    request_answer_stop,
    request_message_list,
    request_model_list,
    request_question_get,
    request_session_delete,
    request_session_export,
    request_session_get,
    request_session_import,
    request_session_known,
    request_session_list,
    request_session_open,
    request_session_rename,
    request_settings_change,
    request_settings_get,
)
from docutalk_chat.settings import Settings
from docutalk_chat.use_cases.answer_message import AnswerMessage
from docutalk_chat.use_cases.forget_sessions import forget_for_ever

log = get_logger(__name__)


@contextlib.asynccontextmanager
async def chat(settings: Settings, *, on_fatal: Callable[[str], None] | None = None) -> AsyncIterator[Database]:
    """The running service; yields its database when it takes messages."""
    db = Database(settings.postgres_dsn.get_secret_value(), schema="chat", pool_size=settings.postgres_pool_size)
    broker = MessageBroker(settings, service="chat", db=db, on_fatal=on_fatal)
    library = Library(broker.requests)
    async with _answerers(settings, library) as answerers, StopWatch(db) as stops:
        gateway_message_posted.register(
            broker, AnswerMessage(db, library, answerers, stops, lambda: broker.js, longest=settings.llm_answer_seconds)
        )
        ingest_document_deleted.register(broker)
        ingest_document_ready.register(broker)
        gateway_workspace_deleted.register(broker)
        gateway_user_deleted.register(broker)
        dead_letter_received.register(broker, db)
        request_session_open.register(broker, db)
        request_session_list.register(broker, db)
        request_session_get.register(broker, db)
        request_session_rename.register(broker, db)
        request_session_delete.register(broker, db)
        request_session_export.register(broker, db)
        request_session_import.register(broker, db)
        request_session_known.register(broker, db)
        request_message_list.register(broker, db)
        request_question_get.register(broker, db)
        request_answer_get.register(broker, db)
        request_answer_stop.register(broker, db, stops)
        request_answer_rate.register(broker, db)
        request_settings_get.register(broker, db)
        request_settings_change.register(broker, db, answerers)
        request_model_list.register(broker, answerers)
        forgetting: list[asyncio.Task[None]] = []
        try:
            await broker.start()
            forgetting.append(asyncio.create_task(forget_for_ever(db), name="forget sessions"))
            yield db
        finally:
            await cancel_all(forgetting)
            await broker.stop()
            await db.close()


@contextlib.asynccontextmanager
async def _answerers(settings: Settings, library: Library) -> AsyncIterator[Answerers]:
    extractive = ExtractiveAnswerer(library.vectors)
    endpoint = await _endpoint(settings)
    if endpoint is None:
        log.info("answers are extracts: no language model is configured, and no Ollama with a model runs here")
        yield Answerers(extractive, None)
        return
    log.info("answers come from a language model", provider=endpoint.provider, base_url=endpoint.base_url, model=endpoint.model)
    model = connect(endpoint)
    try:
        yield Answerers(extractive, ModelAnswerer(model))
    finally:
        await model.close()


async def _endpoint(settings: Settings) -> Endpoint | None:
    """What is configured; else an Ollama that runs where it usually does."""
    configured = settings.model_endpoint()
    if configured is not None or not settings.may_use_ollama:
        return configured
    return await detect_ollama(settings.ollama_host)

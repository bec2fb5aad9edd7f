"""The composition root: what chat is made of, from top to bottom."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from docutalk_common.db import Database
from docutalk_common.llm import connect
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.telemetry import get_logger

from docutalk_chat.adapters.extractive import ExtractiveAnswerer
from docutalk_chat.adapters.language_model import ModelAnswerer
from docutalk_chat.adapters.library import Library
from docutalk_chat.consumers import (
    dead_letter_received,
    gateway_message_posted,
    ingest_document_deleted,
    request_answer_get,
    request_message_list,
    request_session_delete,
    request_session_list,
    request_session_open,
)
from docutalk_chat.domain.answers import Answerer
from docutalk_chat.settings import Settings
from docutalk_chat.use_cases.answer_message import AnswerMessage

log = get_logger(__name__)


@contextlib.asynccontextmanager
async def chat(settings: Settings, *, on_fatal: Callable[[str], None] | None = None) -> AsyncIterator[Database]:
    """The running service; yields its database when it takes messages."""
    db = Database(settings.postgres_dsn.get_secret_value(), schema="chat", pool_size=settings.postgres_pool_size)
    broker = MessageBroker(settings, service="chat", db=db, on_fatal=on_fatal)
    library = Library(broker.requests)
    async with _answerer(settings, library) as answerer:
        gateway_message_posted.register(broker, AnswerMessage(db, library, answerer, lambda: broker.js))
        ingest_document_deleted.register(broker)
        dead_letter_received.register(broker, db)
        request_session_open.register(broker, db)
        request_session_list.register(broker, db)
        request_session_delete.register(broker, db)
        request_message_list.register(broker, db)
        request_answer_get.register(broker, db)
        try:
            await broker.start()
            yield db
        finally:
            await broker.stop()
            await db.close()


@contextlib.asynccontextmanager
async def _answerer(settings: Settings, library: Library) -> AsyncIterator[Answerer]:
    endpoint = settings.model_endpoint()
    if endpoint is None:
        log.info("answers are extracts: no language model is configured")
        yield ExtractiveAnswerer(library.vectors)
        return
    log.info("answers come from a language model", base_url=endpoint.base_url, model=endpoint.model)
    model = connect(endpoint)
    try:
        yield ModelAnswerer(model)
    finally:
        await model.close()

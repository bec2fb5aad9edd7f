"""Load the model that searches use, and find out whether it can be asked."""

from __future__ import annotations

from docutalk_common.db import Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger

from docutalk_embed.adapters.model_registry import ModelRegistry, find_serving

log = get_logger(__name__)


async def load_serving(db: Database, registry: ModelRegistry) -> None:
    """Has the serving model ready for the first search. Without it the service goes on: searches by words need no model, those
    by meaning are told what is missing, and documents wait."""
    try:
        async with db.read() as session:
            record = await find_serving(session)
        await registry.load(record)
    except DependencyUnavailable as error:
        log.error("the serving model is not loaded; it is tried again when it is needed", reason=str(error))
    else:
        log.info("the serving model is loaded", model=record.name, provider=record.provider.value)


async def ask_model(db: Database, registry: ModelRegistry) -> None:
    """Returns when the serving model gives a vector. Raises `DependencyUnavailable` while it, or PostgreSQL, is away: consumers
    wait for that."""
    async with db.read() as session:
        record = await find_serving(session)
    model = await registry.load(record)
    await model.embed_query("Does it answer?")

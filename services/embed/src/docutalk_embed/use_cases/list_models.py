"""Say which models are known here, and which could be."""

from __future__ import annotations

from docutalk_common.contracts.embed import ListModels, ModelOffer, Models
from docutalk_common.db import Database

from docutalk_embed.adapters.model_catalogue import KNOWN_MODELS, KnownModel
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry
from docutalk_embed.adapters.model_repository import list_models as find_models


async def list_models(_request: ListModels, db: Database, registry: ModelRegistry) -> Models:
    """No endpoint is asked: an offer is ready when its provider is set up, and its files are there."""
    async with db.read() as session:
        items = await find_models(session)
    registered = {item.name for item in items}
    return Models(items=items, offers=[_offer(known, registry) for name, known in KNOWN_MODELS.items() if name not in registered])


def _offer(known: KnownModel, registry: ModelRegistry) -> ModelOffer:
    query_prefix, passage_prefix = known.prefixes
    record = ModelRecord(
        0,
        known.name,
        known.provider,
        known.provider_model,
        known.dimension,
        known.distance,
        query_prefix,
        passage_prefix,
        known.max_tokens,
    )
    reason = registry.missing(record)
    return ModelOffer(
        name=known.name,
        provider=known.provider,
        dimension=known.dimension,
        max_tokens=known.max_tokens,
        is_ready=reason is None,
        reason=reason,
    )

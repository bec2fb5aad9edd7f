"""Every query about which models are known here."""

from __future__ import annotations

from docutalk_common.contracts.embed import EmbeddingModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.model_registry import ModelRecord


async def list_models(session: AsyncSession, name: str | None = None) -> list[EmbeddingModel]:
    """All models, oldest first, or the one of that name. Passages are counted exactly: .1 s for a million."""
    found = await session.execute(
        text(
            "SELECT m.id, m.name, m.provider, m.provider_model, m.dimension, m.distance, m.query_prefix, m.passage_prefix,"
            " m.max_tokens, m.id = s.model_id AS is_serving, m.created_at,"
            " to_regclass('embeddings_' || m.id) IS NOT NULL AS is_used"
            " FROM models m, serving s WHERE CAST(:name AS text) IS NULL OR m.name = :name ORDER BY m.created_at, m.id"
        ),
        {"name": name},
    )
    models = []
    for row in found.mappings().all():
        fields = dict(row)
        id_ = int(fields.pop("id"))
        passages = 0
        if fields.pop("is_used"):
            passages = int(await session.scalar(text(f"SELECT count(*) FROM embeddings_{id_}")) or 0)  # noqa: S608
        models.append(EmbeddingModel(**fields, passages=passages))
    return models


async def add_model(session: AsyncSession, record: ModelRecord) -> None:
    """A new row; the record's id does not count. `IntegrityError` when the name is taken."""
    await session.execute(
        text(
            "INSERT INTO models (name, provider, provider_model, dimension, distance, query_prefix, passage_prefix, max_tokens)"
            " VALUES (:name, :provider, :provider_model, :dimension, :distance, :query_prefix, :passage_prefix, :max_tokens)"
        ),
        {
            "name": record.name,
            "provider": record.provider.value,
            "provider_model": record.provider_model,
            "dimension": record.dimension,
            "distance": record.distance.value,
            "query_prefix": record.query_prefix,
            "passage_prefix": record.passage_prefix,
            "max_tokens": record.max_tokens,
        },
    )


async def lock_model(session: AsyncSession, model_id: int) -> None:
    """Keeps changes to this model from beginning until the end of the transaction; waits for one that is beginning."""
    await session.execute(text("SELECT FROM models WHERE id = :id FOR UPDATE"), {"id": model_id})


async def delete_model(session: AsyncSession, model_id: int) -> None:
    """Removes the row, and what is known of past changes to and from the model. Its vectors must be dropped already."""
    await session.execute(text("DELETE FROM models WHERE id = :id"), {"id": model_id})

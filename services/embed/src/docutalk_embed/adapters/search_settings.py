"""A workspace's own settings of ranking, in its row."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.db import Transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def find_semantic_weight(session: AsyncSession, workspace_id: UUID) -> float | None:
    """The share of meaning in a hybrid score; None where the workspace has not chosen one."""
    found = await session.scalar(
        text("SELECT semantic_weight FROM workspaces WHERE workspace_id = :workspace_id"), {"workspace_id": workspace_id}
    )
    # Stored with four bytes: .7 would come back as .699999988.
    return None if found is None else round(float(found), 6)


async def set_semantic_weight(transaction: Transaction, workspace_id: UUID, weight: float | None) -> None:
    """Also for a workspace that has no passages yet."""
    await transaction.session.execute(
        text(
            "INSERT INTO workspaces (workspace_id, chunk_count, semantic_weight) VALUES (:workspace_id, 0, :weight)"
            " ON CONFLICT (workspace_id) DO UPDATE SET semantic_weight = excluded.semantic_weight"
        ),
        {"workspace_id": workspace_id, "weight": weight},
    )

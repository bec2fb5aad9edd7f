"""Every query for documents that are like another one, over the vectors of their passages."""

# ruff: noqa: S608 - what is put into the statements are constants of this module and names of tables; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.filter_conditions import LIVE
from docutalk_embed.adapters.passage_repository import USE_INDEX

OWN_PASSAGES = 1_000
"""Of a longer document so many passages, those in its middle, are looked at for the one that says what another one says."""

_MIDDLE = "(SELECT CAST(CAST(:middle AS text) AS halfvec))"


@dataclass(frozen=True)
class Near:
    """A passage of another document, with its cosine to the middle of the document asked about."""

    chunk_id: UUID
    document_id: UUID
    cosine: float


@dataclass(frozen=True)
class Pair:
    """A passage of another document and the own one that is most like it."""

    chunk_id: UUID
    own_chunk_id: UUID
    cosine: float


class SimilarDocuments:
    """Looks around one document of a workspace, inside of a read-only transaction that the caller owns."""

    def __init__(self, session: AsyncSession, workspace_id: UUID, document_id: UUID, table: str) -> None:
        self._session = session
        self._table = table
        self._parameters = {"workspace_id": workspace_id, "document_id": document_id}

    async def middle(self) -> str | None:
        """The average of the document's vectors, as PostgreSQL writes it; None when it has none that can be found."""
        middle: str | None = await self._session.scalar(
            text(
                "SELECT CAST(l2_normalize(avg(CAST(e.embedding AS vector))) AS text) FROM documents d"
                f" JOIN {self._table} e ON e.document_id = d.document_id AND e.version = d.live_version"
                f" WHERE {LIVE} AND d.document_id = :document_id"
            ),
            self._parameters,
        )
        return middle

    async def around(self, middle: str, limit: int, *, exact: bool) -> list[Near]:
        """The passages of other documents that are nearest to it, best first."""
        others = f"{LIVE} AND d.document_id <> :document_id AND e.workspace_id = :workspace_id"
        distance = f"e.embedding <#> {_MIDDLE}"
        cosine = f"-({distance}) / greatest(l2_norm(e.embedding), 1e-6)"
        if exact:
            statement = (
                f"SELECT e.chunk_id, e.document_id, {cosine} AS cosine FROM documents d"
                f" JOIN {self._table} e ON e.document_id = d.document_id AND e.version = d.live_version"
                f" WHERE {others} ORDER BY cosine DESC, e.chunk_id LIMIT :limit"
            )
        else:
            await self._session.execute(text(USE_INDEX), {"table": self._table})
            statement = (
                f"SELECT e.chunk_id, e.document_id, {cosine} AS cosine FROM {self._table} e"
                " JOIN documents d ON d.document_id = e.document_id AND d.live_version = e.version"
                f" WHERE {others} ORDER BY {distance} LIMIT :limit"
            )
        found = await self._session.execute(text(statement), self._parameters | {"middle": middle, "limit": limit})
        near = [Near(chunk_id, document_id, float(cosine)) for chunk_id, document_id, cosine in found]
        if not exact:
            await self._session.execute(text("SET LOCAL enable_sort = on"))
        return sorted(near, key=lambda one: (-one.cosine, one.chunk_id))

    async def pairs(self, middle: str, chunk_ids: Sequence[UUID]) -> list[Pair]:
        """For each of these passages the own one that is most like it."""
        found = await self._session.execute(
            text(
                "WITH own AS MATERIALIZED ("
                f" SELECT e.chunk_id, e.embedding FROM documents d"
                f" JOIN {self._table} e ON e.document_id = d.document_id AND e.version = d.live_version"
                f" WHERE {LIVE} AND d.document_id = :document_id"
                f" ORDER BY (e.embedding <#> {_MIDDLE}) + 0, e.chunk_id LIMIT :own)"
                f" SELECT o.chunk_id, own.chunk_id, own.cosine FROM {self._table} o CROSS JOIN LATERAL ("
                " SELECT own.chunk_id, 1 - (own.embedding <=> o.embedding) AS cosine FROM own"
                " ORDER BY own.embedding <=> o.embedding, own.chunk_id LIMIT 1) AS own"
                " WHERE o.chunk_id = ANY(CAST(:chunk_ids AS uuid[]))"
            ),
            self._parameters | {"middle": middle, "own": OWN_PASSAGES, "chunk_ids": list(chunk_ids)},
        )
        return [Pair(chunk_id, own_chunk_id, float(cosine)) for chunk_id, own_chunk_id, cosine in found]

"""Who waits for a turn and who has one, by workspace: documents to be read, and batches of chunks to be embedded.

Asked on the dispatcher's own connection, where sequential scans are switched off: the partial indexes hold only what waits or
is in flight, and a plan made while a table was small must not stay when it has grown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import asyncpg

Line = Literal["documents", "batches"]

SETTINGS = {"enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}
"""Of the connection, beside its search path."""

HEADS: dict[Line, str] = {
    # The first of each workspace, jumping from workspace to workspace: 10,000 documents behind it are not looked at.
    "documents": """
        WITH RECURSIVE head AS (
          (SELECT workspace_id, queued_at, document_id FROM documents
           WHERE status = 'queued' AND released_at IS NULL AND deleted_at IS NULL
           ORDER BY workspace_id, queued_at, document_id LIMIT 1)
          UNION ALL
          SELECT next.* FROM head CROSS JOIN LATERAL (
            SELECT d.workspace_id, d.queued_at, d.document_id FROM documents d
            WHERE d.status = 'queued' AND d.released_at IS NULL AND d.deleted_at IS NULL AND d.workspace_id > head.workspace_id
            ORDER BY d.workspace_id, d.queued_at, d.document_id LIMIT 1) next
        )
        SELECT workspace_id, queued_at, document_id, 0 AS version, 0 AS batch FROM head
        """,
    "batches": """
        WITH RECURSIVE head AS (
          (SELECT workspace_id, queued_at, document_id, version, batch FROM batches
           WHERE released_at IS NULL AND NOT held
           ORDER BY workspace_id, queued_at, document_id, batch LIMIT 1)
          UNION ALL
          SELECT next.* FROM head CROSS JOIN LATERAL (
            SELECT b.workspace_id, b.queued_at, b.document_id, b.version, b.batch FROM batches b
            WHERE b.released_at IS NULL AND NOT b.held AND b.workspace_id > head.workspace_id
            ORDER BY b.workspace_id, b.queued_at, b.document_id, b.batch LIMIT 1) next
        )
        SELECT workspace_id, queued_at, document_id, version, batch FROM head
        """,
}
IN_FLIGHT: dict[Line, str] = {
    "documents": """
        SELECT workspace_id, count(*) FROM documents
        WHERE released_at IS NOT NULL AND status IN ('queued', 'extracting', 'chunking') AND deleted_at IS NULL
        GROUP BY workspace_id
        """,
    "batches": "SELECT workspace_id, count(*) FROM batches WHERE released_at IS NOT NULL AND NOT held GROUP BY workspace_id",
}
_RECOVER = (
    # The message of a document that is being read was lost for good, or its reader was: it waits again, in its old place.
    """
    UPDATE documents SET status = 'queued', released_at = NULL, updated_at = now()
    WHERE released_at < now() - $1::interval AND status IN ('queued', 'extracting', 'chunking') AND deleted_at IS NULL
    """,
    "UPDATE batches SET released_at = NULL WHERE released_at < now() - $1::interval AND NOT held",
    # Every batch is done and embed has not said that it holds all: it is asked again, with the same chunks.
    """
    UPDATE documents d SET status = 'queued', released_at = NULL, attempt = attempt + 1, queued_at = now(), updated_at = now()
    WHERE status = 'embedding' AND deleted_at IS NULL AND updated_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM batches b WHERE b.document_id = d.document_id AND b.version = d.version)
    """,
)


@dataclass(frozen=True)
class Head:
    """The first of a workspace's line. `version` and `batch` are of batches only."""

    workspace_id: UUID
    queued_at: datetime
    document_id: UUID
    version: int
    batch: int


class WaitingLines:
    """Looks at both lines."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def heads(self, line: Line) -> list[Head]:
        """The first of each workspace that waits."""
        return [Head(*row) for row in await self._connection.fetch(HEADS[line])]

    async def in_flight(self, line: Line) -> dict[UUID, int]:
        """How much is handed out and not done, by workspace."""
        return {row[0]: row[1] for row in await self._connection.fetch(IN_FLIGHT[line])}

    async def recover(self, after: timedelta) -> int:
        """Puts back into line what was handed out so long ago that it must have been lost. Done twice, it does no harm."""
        moved = 0
        for statement in _RECOVER:
            moved += int((await self._connection.execute(statement, after)).split()[-1])
        return moved

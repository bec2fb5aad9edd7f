"""How long work takes here, and how much of it waits: what estimates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Moving averages: the newest counts for a tenth, so that about the last twenty pieces of work decide.
_NOTE_EXTRACTION = text(
    """
    UPDATE speeds SET
      document_seconds = coalesce(0.9 * document_seconds + 0.1 * :seconds, :seconds),
      page_seconds = coalesce(0.9 * page_seconds + 0.1 * :of_page, :of_page),
      document_chunks = coalesce(0.9 * document_chunks + 0.1 * :chunks, :chunks)
    """
)
# Time counts from when the batch was handed out, or from when the one before it was done, whichever was later: so it is the
# pace of all batches together, and idle hours do not count.
_NOTE_CHUNKS = text(
    """
    UPDATE speeds SET chunk_at = clock_timestamp(), chunk_seconds = coalesce(0.9 * chunk_seconds + 0.1 * s.pace, s.pace)
    FROM (SELECT extract(epoch FROM clock_timestamp()
                 - greatest(chunk_at, CAST(:released_at AS timestamptz))) / :chunks AS pace FROM speeds) s
    """
)
_SPEEDS = text("SELECT document_seconds, page_seconds, document_chunks, chunk_seconds FROM speeds")
_WAITING = text(
    """
    SELECT workspace_id, count(*), min(queued_at) FROM documents
    WHERE status = 'queued' AND released_at IS NULL AND deleted_at IS NULL GROUP BY workspace_id
    """
)
_IN_FLIGHT = text(
    """
    SELECT workspace_id, count(*) FROM documents
    WHERE released_at IS NOT NULL AND status IN ('queued', 'extracting', 'chunking') AND deleted_at IS NULL
    GROUP BY workspace_id
    """
)
_RANKS = text(
    """
    SELECT document_id, rank FROM (
      SELECT document_id, row_number() OVER (ORDER BY queued_at, document_id) AS rank FROM documents
      WHERE workspace_id = :workspace AND status = 'queued' AND released_at IS NULL AND deleted_at IS NULL) line
    WHERE document_id = ANY(CAST(:documents AS uuid[]))
    """
)
_CHUNKS_AHEAD = text(
    """
    SELECT document_id, upto FROM (
      SELECT document_id, sum(sum(chunk_count)) OVER (ORDER BY min(queued_at), document_id) AS upto FROM batches
      WHERE workspace_id = :workspace AND NOT held GROUP BY document_id) line
    WHERE document_id = ANY(CAST(:documents AS uuid[]))
    """
)
_CHUNKS_WAITING = text("SELECT workspace_id, sum(chunk_count) FROM batches WHERE NOT held GROUP BY workspace_id")
_UNFINISHED = text(
    """
    SELECT status, count(*), coalesce(sum(pages_done), 0), coalesce(sum(page_count), 0), coalesce(sum(chunks_done), 0),
      coalesce(sum(chunk_count), 0)
    FROM documents WHERE workspace_id = :workspace AND deleted_at IS NULL
      AND status IN ('queued', 'extracting', 'chunking', 'embedding') GROUP BY status
    """
)
_FINAL = text(
    """
    SELECT status, count(*) FROM documents WHERE workspace_id = :workspace AND deleted_at IS NULL
      AND status IN ('ready', 'failed', 'cancelled') GROUP BY status
    """
)


@dataclass(frozen=True)
class Speeds:
    """Seconds for a document, a page, a chunk, and chunks of a document; None where nothing was measured yet."""

    document_seconds: float | None = None
    page_seconds: float | None = None
    document_chunks: float | None = None
    chunk_seconds: float | None = None


@dataclass(frozen=True)
class Lines:
    """What waits and what is in flight, by workspace: documents to be read, and chunks to be embedded."""

    waiting: dict[UUID, int] = field(default_factory=dict)
    oldest: dict[UUID, datetime] = field(default_factory=dict)
    in_flight: dict[UUID, int] = field(default_factory=dict)
    chunks: dict[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Tally:
    """A workspace's documents by status, and the counts of the unfinished ones together."""

    documents: dict[str, int]
    pages_done: int
    page_count: int
    chunks_done: int
    chunk_count: int


class SpeedRepository:
    """Measurements and lines, within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def note_extraction(self, seconds: float, pages: int, chunks: int) -> None:
        """A document was read. Call it last: every document changes this one row."""
        await self._session.execute(
            _NOTE_EXTRACTION, {"seconds": seconds, "of_page": seconds / max(pages, 1), "chunks": float(chunks)}
        )

    async def note_chunks(self, chunks: int, released_at: datetime | None) -> None:
        """A batch was embedded."""
        if released_at is not None:
            await self._session.execute(_NOTE_CHUNKS, {"chunks": max(chunks, 1), "released_at": released_at})

    async def speeds(self) -> Speeds:
        """The averages as they are."""
        row = (await self._session.execute(_SPEEDS)).one_or_none()
        return Speeds(*row) if row else Speeds()

    async def lines(self) -> Lines:
        """Of the whole installation. Reads the indexes of what waits: 2 ms for 10,000 documents."""
        waiting = (await self._session.execute(_WAITING)).all()
        in_flight = (await self._session.execute(_IN_FLIGHT)).all()
        chunks = (await self._session.execute(_CHUNKS_WAITING)).all()
        return Lines(
            waiting={row[0]: row[1] for row in waiting},
            oldest={row[0]: row[2] for row in waiting},
            in_flight={row[0]: row[1] for row in in_flight},
            chunks={row[0]: row[1] for row in chunks},
        )

    async def ranks(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> dict[UUID, int]:
        """The places of waiting documents among those of their workspace, from 1."""
        rows = await self._session.execute(_RANKS, {"workspace": workspace_id, "documents": list(document_ids)})
        return {row[0]: row[1] for row in rows}

    async def chunks_ahead(self, workspace_id: UUID, document_ids: Sequence[UUID]) -> dict[UUID, int]:
        """How many chunks of the workspace are to be embedded until these documents are done, their own included."""
        rows = await self._session.execute(_CHUNKS_AHEAD, {"workspace": workspace_id, "documents": list(document_ids)})
        return {row[0]: int(row[1]) for row in rows}

    async def tally(self, workspace_id: UUID) -> Tally:
        """Counts of one workspace."""
        unfinished = (await self._session.execute(_UNFINISHED, {"workspace": workspace_id})).all()
        final = (await self._session.execute(_FINAL, {"workspace": workspace_id})).all()
        sums = [int(sum(row[column] for row in unfinished)) for column in range(2, 6)]
        return Tally({row[0]: row[1] for row in (*unfinished, *final)}, *sums)

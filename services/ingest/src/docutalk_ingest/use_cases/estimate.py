"""When will it be done? Places in line, and seconds from measured speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.ingest import Document, DocumentStatus
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.speed_repository import Lines, SpeedRepository, Speeds
from docutalk_ingest.domain import UNFINISHED, UNREAD


@dataclass(frozen=True)
class Estimator:
    """What is known at one moment. `slots`: how many documents are read at a time."""

    speeds: Speeds
    lines: Lines
    slots: int

    def position(self, workspace_id: UUID, rank: int) -> int:
        """The place in the fair order, from 1, of the workspace's waiting document of that rank.

        The dispatcher always serves the workspace with the least in flight: the n-th document of one with m in flight goes in
        round m + n. Within a round, those that have taken part in fewer rounds come first, and of these the oldest line.
        """
        in_flight = self.lines.in_flight.get(workspace_id, 0)
        ahead = rank - 1
        for other, count in self.lines.waiting.items():
            if other == workspace_id:
                continue
            theirs = self.lines.in_flight.get(other, 0)
            older = self.lines.oldest[other] < self.lines.oldest[workspace_id]
            in_my_round = theirs > in_flight or (theirs == in_flight and older)
            ahead += min(count, max(0, in_flight + rank - 1 - theirs + in_my_round))
        return ahead + 1

    def to_embed(self, workspace_id: UUID, chunks: float) -> float | None:
        """Seconds until so many chunks of the workspace are embedded, beside those of the others."""
        if self.speeds.chunk_seconds is None:
            return None
        others = sum(min(float(waiting), chunks) for other, waiting in self.lines.chunks.items() if other != workspace_id)
        return float(self.speeds.chunk_seconds * (chunks + others))

    def to_read(self, workspace_id: UUID, rank: int) -> float | None:
        """Seconds until the workspace's waiting document of that rank is read, and embedded if that takes longer."""
        if self.speeds.document_seconds is None or self.speeds.document_chunks is None:
            return None
        reading = self.speeds.document_seconds * (self.position(workspace_id, rank) / self.slots + 1)
        unread = self.lines.in_flight.get(workspace_id, 0) + rank
        embedding = self.to_embed(workspace_id, self.lines.chunks.get(workspace_id, 0) + unread * self.speeds.document_chunks)
        if embedding is None:
            return None
        last = self.to_embed(workspace_id, self.speeds.document_chunks) or 0.0
        return max(reading + last, embedding)

    def while_read(self, document: Document) -> float | None:
        """Seconds until a document that is being read is ready."""
        if self.speeds.page_seconds is None or self.speeds.document_seconds is None or self.speeds.document_chunks is None:
            return None
        left = (document.page_count or 0) - document.pages_done
        reading = self.speeds.page_seconds * left if document.page_count else self.speeds.document_seconds
        ahead = self.lines.chunks.get(document.workspace_id, 0) + self.speeds.document_chunks
        embedding = self.to_embed(document.workspace_id, ahead)
        return None if embedding is None else reading + embedding


async def estimator(session: AsyncSession, slots: int) -> Estimator:
    """What is known now."""
    repository = SpeedRepository(session)
    return Estimator(await repository.speeds(), await repository.lines(), max(slots, 1))


async def with_estimates(session: AsyncSession, workspace_id: UUID, documents: Sequence[Document], slots: int) -> list[Document]:
    """The workspace's documents with their places in line and estimates. Costs nothing when all have come to their end."""
    unfinished = [document for document in documents if document.status in UNFINISHED]
    if not unfinished:
        return list(documents)
    now = await estimator(session, slots)
    repository = SpeedRepository(session)
    queued = [document.document_id for document in unfinished if document.status == DocumentStatus.QUEUED]
    embedding = [document.document_id for document in unfinished if document.status == DocumentStatus.EMBEDDING]
    ranks = await repository.ranks(workspace_id, queued) if queued else {}
    ahead = await repository.chunks_ahead(workspace_id, embedding) if embedding else {}

    def estimated(document: Document) -> Document:
        position: int | None = None
        seconds: float | None = None
        rank = ranks.get(document.document_id)
        if rank is not None:
            position, seconds = now.position(workspace_id, rank), now.to_read(workspace_id, rank)
        elif document.status in UNREAD:
            seconds = now.while_read(document)
        elif document.status == DocumentStatus.EMBEDDING:
            seconds = now.to_embed(workspace_id, float(ahead.get(document.document_id, 0)))
        seconds = None if seconds is None else round(seconds, 1)
        return document.model_copy(update={"queue_position": position, "eta_seconds": seconds})

    return [estimated(document) for document in documents]

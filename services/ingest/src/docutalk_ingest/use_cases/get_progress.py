"""How far is a workspace as a whole?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import GetProgress, WorkspaceProgress
from docutalk_common.db import Database

from docutalk_ingest.adapters.speed_repository import SpeedRepository, Tally
from docutalk_ingest.domain import UNFINISHED
from docutalk_ingest.use_cases.estimate import Estimator, estimator


async def get_progress(request: GetProgress, db: Database, *, slots: int) -> WorkspaceProgress:
    """Counts by status; pages, chunks and the estimate are those of what is unfinished."""
    async with db.read() as session:
        tally = await SpeedRepository(session).tally(request.workspace_id)
        busy = any(status in tally.documents for status in UNFINISHED)
        seconds = _until_all_are_ready(request, await estimator(session, slots), tally) if busy else None
    return WorkspaceProgress(
        documents=tally.documents,
        pages_done=tally.pages_done,
        page_count=tally.page_count,
        chunks_done=tally.chunks_done,
        chunk_count=tally.chunk_count,
        eta_seconds=None if seconds is None else round(seconds, 1),
    )


def _until_all_are_ready(request: GetProgress, now: Estimator, tally: Tally) -> float | None:
    workspace = request.workspace_id
    waiting, reading = now.lines.waiting.get(workspace, 0), now.lines.in_flight.get(workspace, 0)
    if waiting:
        return now.to_read(workspace, waiting)
    chunks = float(now.lines.chunks.get(workspace, 0))
    if reading:
        if now.speeds.document_seconds is None or now.speeds.document_chunks is None:
            return None
        embedding = now.to_embed(workspace, chunks + reading * now.speeds.document_chunks)
        return None if embedding is None else now.speeds.document_seconds + embedding
    return now.to_embed(workspace, chunks)

"""How much does a workspace take?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import GetUsage, WorkspaceUsage
from docutalk_common.db import Database

from docutalk_ingest.adapters.record_repository import RecordRepository


async def get_usage(request: GetUsage, db: Database) -> WorkspaceUsage:
    """Nothing for a workspace of which nothing is known."""
    async with db.read() as session:
        return await RecordRepository(session).usage(request.workspace_id)

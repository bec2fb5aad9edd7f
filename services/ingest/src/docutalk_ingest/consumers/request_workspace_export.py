"""A workspace is carried to another installation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ExportedRecords, ExportRecords
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.export_records import export_records


def request_workspace_export(db: Database) -> Callable[[ExportRecords, Cause], Awaitable[ExportedRecords]]:
    """The answerer of `rpc.ingest.v1.workspace.export`."""

    async def answer(request: ExportRecords, _cause: Cause) -> ExportedRecords:
        return await export_records(request, db)

    return answer

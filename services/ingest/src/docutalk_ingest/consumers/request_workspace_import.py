"""Sources and documents of another installation come into a workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ImportRecords, RecordsImported
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.import_records import import_records


def request_workspace_import(
    db: Database, wake: Callable[[], None], min_interval: int
) -> Callable[[ImportRecords, Cause], Awaitable[RecordsImported]]:
    """The answerer of `rpc.ingest.v1.workspace.import`."""

    async def answer(request: ImportRecords, cause: Cause) -> RecordsImported:
        return await import_records(request, cause, db, wake, min_interval=min_interval)

    return answer

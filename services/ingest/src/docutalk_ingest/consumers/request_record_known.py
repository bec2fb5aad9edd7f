"""Which ids are taken?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import KnownRecords, RecordsKnown
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.find_known_records import find_known_records


def request_record_known(db: Database) -> Callable[[KnownRecords, Cause], Awaitable[RecordsKnown]]:
    """The answerer of `rpc.ingest.v1.record.known`."""

    async def answer(request: KnownRecords, _cause: Cause) -> RecordsKnown:
        return await find_known_records(request, db)

    return answer

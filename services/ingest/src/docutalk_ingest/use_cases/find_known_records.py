"""Which ids are taken?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import KnownRecords, RecordsKnown
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.record_repository import RecordRepository

MAX_IDS = 1000


async def find_known_records(request: KnownRecords, db: Database) -> RecordsKnown:
    """In any workspace. Raises `RequestFailed("invalid")`."""
    if len(request.ids) > MAX_IDS:
        raise RequestFailed("invalid", f"At most {MAX_IDS} ids can be asked for at once.")
    async with db.read() as session:
        return RecordsKnown(ids=await RecordRepository(session).known(request.ids))

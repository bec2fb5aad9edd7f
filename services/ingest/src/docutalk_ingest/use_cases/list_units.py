"""What is a document made of: headings, tables, rows, notes?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import ListUnits, Units
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.page_repository import PageRepository

MAX_UNITS = 1_000


async def list_units(request: ListUnits, db: Database) -> Units:
    """At most 1,000 at a time. Raises `NotFound`."""
    async with db.read() as session:
        found = await PageRepository(session).units(request, most=MAX_UNITS)
    if found is None:
        raise NotFound("There is no such document in this workspace.")
    return found

"""What is a document made of?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ListUnits, Units
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.list_units import list_units


def request_unit_list(db: Database) -> Callable[[ListUnits, Cause], Awaitable[Units]]:
    """The answerer of `rpc.ingest.v1.unit.list`."""

    async def answer(request: ListUnits, _cause: Cause) -> Units:
        return await list_units(request, db)

    return answer

"""Which objects of the store belong to documents?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import KnownObjects, ObjectsKnown
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.find_known_objects import find_known_objects


def request_object_known(db: Database) -> Callable[[KnownObjects, Cause], Awaitable[ObjectsKnown]]:
    """The answerer of `rpc.ingest.v1.object.known`."""

    async def answer(request: KnownObjects, _cause: Cause) -> ObjectsKnown:
        return await find_known_objects(request, db)

    return answer

"""Which objects of the store belong to documents?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import KnownObjects, ObjectsKnown
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.version_repository import VersionRepository

MAX_KEYS = 1000


async def find_known_objects(request: KnownObjects, db: Database) -> ObjectsKnown:
    """Files of kept versions, their copies without protection, pictures of pages. Raises `RequestFailed("invalid")`."""
    if len(request.keys) > MAX_KEYS:
        raise RequestFailed("invalid", f"At most {MAX_KEYS} keys can be asked for at once.")
    async with db.read() as session:
        return ObjectsKnown(keys=await VersionRepository(session).known_objects(request.keys))

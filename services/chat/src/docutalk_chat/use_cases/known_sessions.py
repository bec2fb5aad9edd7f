"""Says which ids are taken, before something is imported under them."""

from __future__ import annotations

from docutalk_common.contracts.chat import KnownSessions, SessionsKnown
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed

from docutalk_chat.adapters.portable_sessions import known_ids

MOST_IDS = 1_000


async def known_sessions(db: Database, request: KnownSessions) -> SessionsKnown:
    """In the order in which they were asked about. Raises `RequestFailed("invalid")` for too many."""
    if len(request.ids) > MOST_IDS:
        raise RequestFailed("invalid", f"{len(request.ids):,} ids are too many; ask about {MOST_IDS:,} at a time")
    async with db.read() as session:
        known = await known_ids(session, request.ids)
    return SessionsKnown(ids=[id_ for id_ in dict.fromkeys(request.ids) if id_ in known])

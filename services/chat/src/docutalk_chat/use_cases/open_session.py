"""Opens a session to post into: one that exists, or a new one."""

from __future__ import annotations

from docutalk_common.contracts.chat import OpenSession, SessionOpened
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_chat.adapters import session_repository
from docutalk_chat.adapters.erasure_repository import may_store


async def open_session(db: Database, request: OpenSession, cause: Cause) -> SessionOpened:
    """Raises `NotFound` for a session that is not this user's in this workspace, and when one of the two was deleted."""
    if request.session_id is None:
        async with db.transaction(cause) as transaction:
            if not await may_store(transaction.session, request.workspace_id, request.user_id):
                raise NotFound("the workspace or the account was deleted")
            created = await session_repository.create_session(
                transaction.session, request.workspace_id, request.user_id, transient=request.transient
            )
            return SessionOpened(session_id=created)
    async with db.read() as session:
        if not await session_repository.has_session(session, request.workspace_id, request.user_id, request.session_id):
            raise NotFound("there is no such chat session")
    return SessionOpened(session_id=request.session_id)

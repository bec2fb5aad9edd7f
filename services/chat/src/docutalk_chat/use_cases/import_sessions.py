"""Takes over conversations that were exported, here or in another installation."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.chat import ExportedMessage, ImportSessions, SessionsImported
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_chat.adapters import portable_sessions
from docutalk_chat.adapters.erasure_repository import may_store
from docutalk_chat.adapters.portable_sessions import KnownMessage
from docutalk_chat.domain.import_rules import check_import


async def import_sessions(db: Database, request: ImportSessions, cause: Cause) -> SessionsImported:
    """All of them or none. What is there already is left as it is.

    Raises `RequestFailed`: `invalid`, also for a message whose session or question is missing; `conflict` when an id belongs to
    something else, or the workspace or the account was deleted.
    """
    check_import(request)
    try:
        async with db.transaction(cause) as transaction:
            if not await may_store(transaction.session, request.workspace_id, request.user_id):
                raise RequestFailed("conflict", "the workspace or the account was deleted; nothing can be imported there")
            await _store(transaction.session, request)
    except IntegrityError as error:
        # Somebody else has taken an id since, or an answer that failed has it.
        raise _taken() from error
    return SessionsImported(
        sessions=len({session.session_id for session in request.sessions}),
        messages=len({message.message_id for message in request.messages}),
    )


async def _store(db: AsyncSession, request: ImportSessions) -> None:
    await portable_sessions.add_sessions(db, request.workspace_id, request.user_id, request.sessions)
    wanted = {session.session_id for session in request.sessions} | {message.session_id for message in request.messages}
    missing = wanted - await portable_sessions.lock_sessions(db, request.workspace_id, request.user_id, wanted)
    if missing and await portable_sessions.known_ids(db, missing):
        raise _taken()
    if missing:
        raise _invalid(f"the conversation {min(missing)} of a message is neither here nor sent along")
    named = {id_ for message in request.messages for id_ in (message.message_id, message.reply_to) if id_ is not None}
    known = await portable_sessions.find_messages(db, named)
    await portable_sessions.add_messages(db, _new(request.messages, known))


def _new(messages: list[ExportedMessage], known: dict[UUID, KnownMessage]) -> list[ExportedMessage]:
    """Those that are not there yet, each checked against what is there and what comes before it."""
    known, new = dict(known), []
    for message in messages:
        own = KnownMessage(message.session_id, message.role)
        if message.message_id in known:
            if known[message.message_id] != own:
                raise _taken()
            continue
        if message.reply_to is not None and known.get(message.reply_to) != KnownMessage(message.session_id, "user"):
            raise _invalid(f"the question that {message.message_id} answers is not before it in its conversation")
        known[message.message_id] = own
        new.append(message)
    return new


def _taken() -> RequestFailed:
    return RequestFailed("conflict", "an id of these conversations belongs to something else here; import them under new ids")


def _invalid(reason: str) -> RequestFailed:
    return RequestFailed("invalid", f"The conversations cannot be imported: {reason}.")

"""Tells what a person said and was answered, to be carried elsewhere."""

from __future__ import annotations

import contextlib

from docutalk_common.contracts.chat import ExportedMessage, ExportedSession, ExportedSessions, ExportSessions
from docutalk_common.db import Database

from docutalk_chat.adapters.portable_sessions import records_after
from docutalk_chat.domain.export_place import ExportPlace

PAGE_BYTES = 500_000
"""Of a page with more than one record. A message holds 2 MiB."""


async def export_sessions(db: Database, request: ExportSessions, *, most_bytes: int = PAGE_BYTES) -> ExportedSessions:
    """A page, with at least one record unless nothing is left. Raises `RequestFailed("invalid")` for an `after` that is none."""
    place, size = ExportPlace.read(request.after), 0
    sessions: list[ExportedSession] = []
    messages: list[ExportedMessage] = []
    async with (
        db.read() as session,
        contextlib.aclosing(records_after(session, request.workspace_id, request.user_id, place)) as records,
    ):
        async for there, record in records:
            size += len(record.model_dump_json().encode())
            if size > most_bytes and (sessions or messages):
                return ExportedSessions(sessions=sessions, messages=messages, next=str(place))
            place = there
            if isinstance(record, ExportedSession):
                sessions.append(record)
            else:
                messages.append(record)
    return ExportedSessions(sessions=sessions, messages=messages)

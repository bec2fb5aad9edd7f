"""What conversations that come from elsewhere must be like, so that they can be stored and shown as those that were made here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from docutalk_common.contracts.chat import ExportedMessage, ImportSessions
from docutalk_common.errors import RequestFailed

LONGEST_TEXT = 100_000
"""Characters. Of a much longer text PostgreSQL could not index the words."""
_LARGEST_NUMBER = (1 << 31) - 1


def check_import(request: ImportSessions) -> None:
    """Raises `RequestFailed("invalid")` with the first thing that is wrong."""
    for session in request.sessions:
        if not session.title.strip():
            raise _invalid(f"the conversation {session.session_id} has no title")
    for message in request.messages:
        _check_message(message)
    for value in _values(request.model_dump()):
        if isinstance(value, str) and "\0" in value:
            raise _invalid("a text holds the character NUL, which cannot be stored")
        if isinstance(value, datetime) and value.tzinfo is None:
            raise _invalid(f"the time {value} has no time zone")
        if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
            raise _invalid(f"the number {value} is too large")


def _check_message(message: ExportedMessage) -> None:
    if len(message.text) > LONGEST_TEXT:
        raise _invalid(f"the message {message.message_id} has more than {LONGEST_TEXT:,} characters")
    if message.rating not in {None, 1, -1}:
        raise _invalid(f"the message {message.message_id} is rated {message.rating}; a rating is 1, -1, or none")
    if message.role == "assistant" and (message.reply_to is None or message.supported is None):
        raise _invalid(f"the answer {message.message_id} does not say what it answers, and whether its sources support it")


def _values(value: object) -> Iterator[object]:
    """All that stands in a dumped contract, at any depth."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _values(one)
    elif isinstance(value, list):
        for one in value:
            yield from _values(one)
    else:
        yield value


def _invalid(reason: str) -> RequestFailed:
    return RequestFailed("invalid", f"The conversations cannot be imported: {reason}.")

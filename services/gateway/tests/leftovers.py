"""Looks for what should not be anywhere any more: in every table of the gateway, in every stream, in the object store."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from docutalk_common.db import Database
from docutalk_common.messaging.streams import STREAMS
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from sqlalchemy import text

ERASURES = frozenset({"erasures", "erasure_receipts"})
"""What is kept of an erasure."""


async def tables_with(db: Database, words: Collection[str], *, but: Collection[str] = ERASURES) -> dict[str, str]:
    """Each table that holds one of the words in any column, with that row. Bytes are looked into as well."""
    found = {}
    async with db.read() as session:
        names = await session.scalars(text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'gateway'"))
        for name in sorted(set(names) - set(but)):
            for row in await session.scalars(text(f'SELECT row_to_json(t)::text FROM "{name}" t')):
                if _holds(row, words):
                    found[name] = row
    return found


async def subjects_with(js: JetStreamContext, words: Collection[str]) -> list[str]:
    """The subjects of messages, in all streams, that name one of the words."""
    found = []
    for stream in STREAMS:
        info = await js.stream_info(stream.name or "", subjects_filter=">")
        found += [subject for subject in info.state.subjects or {} if _holds(subject, words)]
    return sorted(found)


async def messages_with(js: JetStreamContext, stream: str, words: Collection[str]) -> list[str]:
    """The subjects of a stream's messages that hold one of the words inside."""
    info = (await js.stream_info(stream)).state
    found = []
    for sequence in range(info.first_seq, info.last_seq + 1):
        message = await _message(js, stream, sequence)
        if message is not None and _holds((message.data or b"").decode(errors="replace"), words):
            found.append(message.subject)
    return found


async def _message(js: JetStreamContext, stream: str, sequence: int) -> Any:
    try:
        return await js.get_msg(stream, sequence)
    except NotFoundError:
        return None


def _holds(content: str, words: Collection[str]) -> bool:
    spelt = [*words, *(word.encode().hex() for word in words)]
    return re.search("|".join(re.escape(word) for word in spelt), content, re.IGNORECASE) is not None

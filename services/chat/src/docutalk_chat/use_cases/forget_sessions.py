"""Forgets sessions that nobody is shown: of clients that keep their conversations themselves, and such as nobody wrote in."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger

from docutalk_chat.adapters import session_repository

log = get_logger(__name__)

EVERY_SECONDS = 3600.0
STAY = timedelta(days=1)
"""An answer can be followed again for so long."""


async def forget_sessions(db: Database, older_than: timedelta = STAY) -> int:
    """One round; how many were forgotten."""
    async with db.transaction(Cause.new()) as transaction:
        return await session_repository.forget_sessions(transaction.session, older_than)


async def forget_for_ever(db: Database, *, every: float = EVERY_SECONDS) -> None:
    """A round every hour (`every`, in seconds), until cancelled. Several processes may do it at once."""
    while True:
        try:
            await forget_sessions(db)
        except DependencyUnavailable as error:
            log.warning("sessions that nobody is shown stay for now", reason=str(error))
        except Exception:
            log.exception("sessions that nobody is shown stay for now")
        await asyncio.sleep(every)

"""Two transactions that wait for each other: PostgreSQL ends one of them, which then goes after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from docutalk_common.telemetry import get_logger
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

log = get_logger(__name__)

DEADLOCK_DETECTED = "40P01"
DEADLOCKS = 3
"""So many in a row are waited out."""


async def one_after_the_other(commit: Callable[[], Awaitable[T]]) -> T:
    """Runs `commit`, a whole transaction, again when it was ended, with nothing done. For what locks rows in an order that others
    have not: a version gives up one hash and takes another, a deletion takes all rows of a workspace."""
    for _ in range(DEADLOCKS):
        try:
            return await commit()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != DEADLOCK_DETECTED:
                raise
            log.info("a transaction goes after the one that it waited for")
    return await commit()

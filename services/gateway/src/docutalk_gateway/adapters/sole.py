"""One process at a time, by a lock of PostgreSQL that goes with its connection."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator

import asyncpg
from docutalk_common.db import KEEPALIVE, Database, postgres_errors


@contextlib.asynccontextmanager
async def sole(db: Database, what: str) -> AsyncIterator[bool]:
    """Whether no other process is doing `what`; until the block ends none can begin. Raises `DependencyUnavailable`.

    A connection of its own: the lock belongs to it, also while the block does other things for minutes.
    """
    with postgres_errors():
        connection = await asyncpg.connect(db.dsn, timeout=5, command_timeout=30, server_settings=KEEPALIVE)
        try:
            taken = await connection.fetchval("SELECT pg_try_advisory_lock($1)", zlib.crc32(f"{db.schema} {what}".encode()))
        except BaseException:
            connection.terminate()
            raise
    try:
        yield bool(taken)
    finally:
        # Returns when the server has ended it: until then nobody else can begin.
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=2)

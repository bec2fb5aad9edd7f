"""A service's connections to PostgreSQL, on the real server."""

from __future__ import annotations

import asyncio

import pytest
from docutalk_common.db import KEEPALIVE, Database
from docutalk_common.errors import RequestFailed
from docutalk_local.testing import TestStack
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError


async def test_nobody_notices_that_postgres_was_restarted_while_the_pool_was_idle(stack: TestStack) -> None:
    db = Database(stack.app_dsn("chat"), schema="chat", pool_size=4)

    async def use() -> int:
        async with db.read() as session:
            await session.execute(text("SELECT pg_sleep(0.1)"))
            return int(await session.scalar(text("SELECT 1")) or 0)

    try:
        assert await asyncio.gather(*(use() for _ in range(4))) == [1, 1, 1, 1]
        await stack.backend.kill_server("postgres")
        await stack.backend.start_server("postgres")
        assert await asyncio.gather(*(use() for _ in range(4))) == [1, 1, 1, 1]
    finally:
        await db.close()


async def test_error_of_a_statement_does_not_show_its_values(stack: TestStack) -> None:
    db = Database(stack.app_dsn("chat"), schema="chat", pool_size=1)
    try:
        with pytest.raises(DBAPIError, match="division by zero") as raised:
            async with db.read() as session:
                await session.execute(
                    text("SELECT CAST(:said AS text), 1 / CAST(:nothing AS integer)"), {"said": "in confidence", "nothing": 0}
                )
    finally:
        await db.close()
    assert "in confidence" not in str(raised.value)


async def test_statement_that_takes_too_long_ends_on_the_server_and_says_so_and_the_connection_is_as_it_was(
    stack: TestStack,
) -> None:
    db = Database(stack.app_dsn("chat"), schema="chat", pool_size=1)
    try:
        with pytest.raises(RequestFailed, match=r"0\.05 s") as raised:
            async with db.read(patience=0.05) as session:
                await session.execute(text("SELECT pg_sleep(60)"))
        async with db.read() as session:
            limit = await session.scalar(text("SHOW statement_timeout"))
    finally:
        await db.close()
    assert (raised.value.code, limit) == ("timeout", "0")


async def test_server_finds_out_soon_that_the_host_of_a_connection_is_gone(stack: TestStack) -> None:
    """A host that vanished says no goodbye: its locks stay until the server asks whether it is still there."""
    db = Database(stack.app_dsn("chat"), schema="chat", pool_size=1)
    try:
        async with db.read() as session:
            found = {name: await session.scalar(text(f"SHOW {name}")) for name in KEEPALIVE}
    finally:
        await db.close()
    assert found == KEEPALIVE

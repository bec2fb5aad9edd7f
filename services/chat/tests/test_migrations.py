"""The migrations make what the models say."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from docutalk_chat.adapters.models import metadata
from docutalk_common.provisioning import migrate
from docutalk_local.testing import TestStack
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

MESSAGING = {"inbox", "outbox", "alembic_version"}


async def _on_schema(stack: TestStack, look: Any) -> Any:
    engine = create_async_engine(
        stack.owner_dsn("chat").replace("postgresql://", "postgresql+asyncpg://", 1),
        poolclass=NullPool,
        connect_args={"server_settings": {"search_path": "chat"}},
    )
    async with engine.connect() as connection:
        found = await connection.run_sync(look)
    await engine.dispose()
    return found


async def test_tables_are_those_of_the_models(stack: TestStack) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"include_name": lambda name, kind, _: kind != "table" or name not in MESSAGING}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert await _on_schema(stack, differences) == []


async def test_way_back_leaves_nothing_and_can_be_gone_again(stack: TestStack) -> None:
    def tables(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names())

    before = await _on_schema(stack, tables)
    await migrate("chat", stack.owner_dsn("chat"), "base")
    assert await _on_schema(stack, tables) == {"alembic_version"}
    await migrate("chat", stack.owner_dsn("chat"))
    assert await _on_schema(stack, tables) == before

"""The migrations make what the models say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from docutalk_chat.adapters.models import documents, metadata
from docutalk_chat.adapters.source_repository import mark_source_changed
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause
from docutalk_common.provisioning import migrate
from docutalk_local.testing import TestStack
from sqlalchemy import Connection, inspect, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from .factories import stored_citation
from .world import running_chat

VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"
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


async def test_document_that_was_cited_is_known_to_be_of_the_workspace_that_cited_it(stack: TestStack) -> None:
    async with running_chat(stack) as db:
        workspace_id, document_id = await stored_citation(db)
        strange = uuid7()
        async with db.transaction(Cause.new()) as transaction:
            for one in (document_id, strange):
                await mark_source_changed(transaction.session, workspace_id, one, 2, datetime.now(UTC))
    since = [path for path in VERSIONS.glob("[0-9]*.py") if path.name[:4] > "0003"]
    await migrate("chat", stack.owner_dsn("chat"), f"-{len(since)}")
    await migrate("chat", stack.owner_dsn("chat"))

    def owners(connection: Connection) -> dict[UUID, UUID | None]:
        rows = connection.execute(select(documents.c.document_id, documents.c.workspace_id))
        return {row.document_id: row.workspace_id for row in rows}

    found = await _on_schema(stack, owners)
    assert (found[document_id], found[strange]) == (workspace_id, None)

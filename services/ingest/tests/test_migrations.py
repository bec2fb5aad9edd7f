"""The schema's way up, back, and up again."""

from __future__ import annotations

import asyncpg
from docutalk_common.provisioning import migrate, provision_postgres, with_login
from docutalk_local.testing import TestStack


async def test_migrations_go_up_and_down_and_up_again(stack: TestStack) -> None:
    servers, passwords = stack.backend.servers, stack.backend.secrets.postgres
    await provision_postgres(servers.superuser_dsn, passwords, database="migrated")
    owner = with_login(servers.superuser_dsn, user="ingest_owner", password=passwords["ingest_owner"], database="migrated")

    async def shape() -> list[tuple[str, ...]]:
        """Tables with their columns, and indexes."""
        connection = await asyncpg.connect(owner)
        try:
            columns = await connection.fetch(
                "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
                " WHERE table_schema = 'ingest' AND table_name <> 'alembic_version' ORDER BY table_name, column_name"
            )
            indexes = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'ingest' ORDER BY indexname")
            return [tuple(row) for row in (*columns, *indexes) if "alembic" not in str(row[0])]
        finally:
            await connection.close()

    whole = await shape()
    assert ("erased_workspaces", "workspace_id", "uuid", "NO") in whole
    # One step back, and then all the way.
    for target in ("-1", "base"):
        await migrate("ingest", owner, target)
        assert await shape() != whole
        if target == "base":
            assert await shape() == []
        await migrate("ingest", owner)
        assert await shape() == whole

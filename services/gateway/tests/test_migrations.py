"""The schema's way up, back, and up again, with what people had stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.provisioning import migrate, provision_postgres, with_login
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import Scope
from docutalk_local.testing import TestStack

VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"
NOW = datetime.now(UTC)
PASSWORD = "a long enough password"


@dataclass(frozen=True)
class Own:
    """A database of these tests' own, as its owner sees it."""

    dsn: str
    password_hash: str
    connection: asyncpg.Connection

    async def back_to(self, revision: str) -> None:
        """Goes down from the newest one."""
        newer = len([path for path in VERSIONS.glob("[0-9]*.py") if path.name[:4] > revision])
        await self._go("base" if revision == "base" else f"-{newer}")

    async def forth(self) -> None:
        """Goes up to the newest one."""
        await self._go("head")

    async def _go(self, target: str) -> None:
        await migrate("gateway", self.dsn, target)
        # What it has prepared is of the tables before.
        await self.connection.reload_schema_state()

    async def add(self, table: str, **values: Any) -> None:
        """Stores a row."""
        places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
        await self.connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())

    async def user(self) -> UUID:
        """Stores somebody with a workspace."""
        user_id, workspace_id = uuid7(), uuid7()
        await self.add("workspaces", id=workspace_id, name="Theirs")
        person = {"id": user_id, "email": f"{user_id}@example.com", "password_hash": self.password_hash}
        await self.add("users", **person, default_workspace_id=workspace_id)
        return user_id

    async def shape(self) -> list[tuple[str, ...]]:
        """Columns, indexes and constraints."""
        rows = await self.connection.fetch(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'gateway' ORDER BY 1, 2"
        )
        rows += await self.connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'gateway' ORDER BY indexname")
        rows += await self.connection.fetch(
            "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'gateway'::regnamespace ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows if "alembic" not in str(row[0])]


@pytest.fixture
async def own(stack: TestStack) -> AsyncIterator[Own]:
    servers, passwords = stack.backend.servers, stack.backend.secrets.postgres
    database = f"gateway_{uuid4().hex[:12]}"
    await provision_postgres(servers.superuser_dsn, passwords, database=database)
    dsn = with_login(servers.superuser_dsn, user="gateway_owner", password=passwords["gateway_owner"], database=database)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "gateway, public"})
    try:
        yield Own(dsn, await Passwords().hash(PASSWORD), connection)
    finally:
        await connection.close()


async def test_migrations_go_up_and_down_and_up_again(own: Own) -> None:
    whole = await own.shape()
    await own.back_to("0003")
    before = await own.shape()
    await own.forth()
    assert await own.shape() == whole
    await own.back_to("0003")
    assert await own.shape() == before
    await own.forth()
    await own.back_to("base")
    assert await own.shape() == []
    await own.forth()
    assert await own.shape() == whole


async def test_who_was_signed_in_stays_so_and_who_was_signed_out_does_too(own: Own) -> None:
    await own.back_to("0003")
    user, going_on, ended = await own.user(), uuid4(), uuid4()

    async def token(family: UUID, hours: int, **fields: Any) -> UUID:
        at, token_id = NOW - timedelta(hours=hours), uuid7()
        values = {"family_id": family, "user_id": user, "token_hash": token_id.bytes, "created_at": at, **fields}
        await own.add("refresh_tokens", id=token_id, expires_at=at + timedelta(days=30), **values)
        return token_id

    await token(going_on, 3, used_at=NOW, user_agent="Firefox", address="192.0.2.1")
    await token(going_on, 2, used_at=NOW, user_agent="Firefox", address="192.0.2.2")
    newest = await token(going_on, 1, user_agent="Firefox", address="192.0.2.3")
    await token(ended, 3, used_at=NOW, revoked_at=NOW)
    await token(ended, 2)
    await own.forth()
    sign_ins = {row["id"]: row for row in await own.connection.fetch("SELECT * FROM sign_ins")}
    assert set(sign_ins) == {going_on, ended}
    mine = sign_ins[going_on]
    assert (mine["user_id"], mine["user_agent"], mine["address"], mine["revoked_at"]) == (user, "Firefox", "192.0.2.3", None)
    assert (mine["created_at"], mine["last_used_at"]) == (NOW - timedelta(hours=3), NOW - timedelta(hours=1))
    assert mine["expires_at"] == await own.connection.fetchval("SELECT expires_at FROM refresh_tokens WHERE id = $1", newest)
    assert sign_ins[ended]["revoked_at"] == NOW
    counted = "SELECT sign_in_id, count(*), count(used_at) FROM refresh_tokens GROUP BY 1"
    assert {tuple(row) for row in await own.connection.fetch(counted)} == {(going_on, 3, 2), (ended, 2, 1)}
    await own.back_to("0003")
    assert await own.connection.fetchval("SELECT count(*) FROM refresh_tokens") == 0
    assert await own.connection.fetchval("SELECT count(*) FROM users") == 1


async def test_keys_of_before_may_do_everything_and_none_may_do_more_on_the_way_back(own: Own) -> None:
    await own.back_to("0003")
    user = await own.user()

    async def key(name: str, **fields: Any) -> None:
        await own.add("api_keys", id=uuid7(), user_id=user, name=name, hint="dtk_", key_hash=name.encode(), **fields)

    await key("of before")
    await own.forth()
    [scopes] = await own.connection.fetchrow("SELECT scopes FROM api_keys")
    assert set(scopes) == set(Scope)
    await key("all", scopes=sorted(Scope))
    await key("search alone", scopes=[Scope.SEARCH])
    await own.back_to("0003")
    names = await own.connection.fetch("SELECT name FROM api_keys ORDER BY id")
    assert [row["name"] for row in names] == ["of before", "all"], "a key that could only search may do everything now"


async def test_accounts_that_the_version_before_does_not_know_go_and_who_was_kept_out_stays_out(own: Own) -> None:
    other, openid_only, disabled = await own.user(), await own.user(), await own.user()
    await own.connection.execute("UPDATE users SET password_hash = NULL WHERE id = $1", openid_only)
    await own.connection.execute("UPDATE users SET disabled_at = now() WHERE id = $1", disabled)
    for user in (other, disabled):
        await own.add("api_keys", id=uuid7(), user_id=user, name="a", hint="d", key_hash=user.bytes, scopes=sorted(Scope))
    await own.back_to("0003")
    hashes = dict(await own.connection.fetch("SELECT id, password_hash FROM users"))
    assert set(hashes) == {other, disabled}
    assert await Passwords().matches(PASSWORD, hashes[other])
    assert not await Passwords().matches(PASSWORD, hashes[disabled])
    assert await own.connection.fetchval("SELECT array_agg(user_id) FROM api_keys") == [other]

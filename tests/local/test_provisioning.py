"""What provisioning leaves behind: rights that hold, and nothing that a second run would change."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from docutalk_common.messaging.streams import SERVICES, ServiceName
from docutalk_common.provisioning import migrate, migrations_folder, provision_postgres
from docutalk_local.testing import Backend, TestStack

OTHERS = [(mine, theirs) for mine in SERVICES for theirs in SERVICES if mine != theirs]
MIGRATED = [service for service in SERVICES if migrations_folder(service) is not None]


@pytest.mark.parametrize(("mine", "theirs"), OTHERS)
async def test_an_app_role_is_refused_in_the_schema_of_every_other_service(
    stack: TestStack, mine: ServiceName, theirs: ServiceName
) -> None:
    owner = await asyncpg.connect(stack.owner_dsn(theirs))
    await owner.execute(f"CREATE TABLE IF NOT EXISTS {theirs}.rights_probe (n int)")
    app = await asyncpg.connect(stack.app_dsn(mine))
    try:
        for statement in (
            f"SELECT * FROM {theirs}.rights_probe",
            f"INSERT INTO {theirs}.rights_probe VALUES (1)",
            f"UPDATE {theirs}.rights_probe SET n = 2",
            f"DELETE FROM {theirs}.rights_probe",
            f"CREATE TABLE {theirs}.own (n int)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
    finally:
        await app.close()
        await owner.execute(f"DROP TABLE {theirs}.rights_probe")
        await owner.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_an_app_role_writes_data_in_its_own_schema_but_makes_no_table_anywhere(
    stack: TestStack, service: ServiceName
) -> None:
    owner = await asyncpg.connect(stack.owner_dsn(service))
    await owner.execute(f"CREATE TABLE {service}.own_probe (n serial, name text)")
    app = await asyncpg.connect(stack.app_dsn(service))
    try:
        assert await app.fetchval("INSERT INTO own_probe (name) VALUES ('a') RETURNING n") == 1
        await app.execute("UPDATE own_probe SET name = 'b'")
        assert await app.fetchval("SELECT name FROM own_probe") == "b"
        await app.execute("DELETE FROM own_probe")
        for statement in (
            "CREATE TABLE t (n int)",
            "CREATE TABLE public.t (n int)",
            "CREATE TEMP TABLE t (n int)",
            "CREATE SCHEMA s",
            "DROP TABLE own_probe",
            "ALTER TABLE own_probe ADD COLUMN x int",
            "TRUNCATE own_probe",
            "CREATE ROLE r",
            "CREATE DATABASE d",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
    finally:
        await app.close()
        await owner.execute(f"DROP TABLE {service}.own_probe")
        await owner.close()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("database", ["postgres", "template1"])
async def test_a_service_role_cannot_connect_to_another_database(stack: TestStack, service: ServiceName, database: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(stack.app_dsn(service), database=database)


async def test_a_wrong_password_is_refused(stack: TestStack) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stack.app_dsn("chat"), password="wrong")


async def test_provisioning_again_twice_at_once_changes_nothing(backend: Backend, stack: TestStack) -> None:
    before = await _described(stack)
    await asyncio.gather(
        *(provision_postgres(backend.servers.superuser_dsn, backend.secrets.postgres) for _ in range(2)),
        TestStack.provisioned(backend),
    )
    assert await _described(stack) == before


async def test_passwords_do_not_reach_the_log_of_the_server(backend: Backend, stack: TestStack) -> None:
    superuser = await asyncpg.connect(backend.servers.superuser_dsn)
    await superuser.execute("ALTER SYSTEM SET log_statement = 'all'")
    await superuser.execute("SELECT pg_reload_conf()")
    try:
        await provision_postgres(backend.servers.superuser_dsn, backend.secrets.postgres)
    finally:
        await superuser.execute("ALTER SYSTEM RESET log_statement")
        await superuser.execute("SELECT pg_reload_conf()")
        await superuser.close()
    log = backend.server_log("postgres")
    assert "ALTER SYSTEM RESET" in log
    assert not [name for name, password in backend.secrets.postgres.items() if password in log]


@pytest.mark.parametrize("service", MIGRATED)
async def test_migrations_of_a_service_run_up_down_and_up_again(backend: Backend, service: ServiceName) -> None:
    database = f"updown_{service}"
    await provision_postgres(backend.servers.superuser_dsn, backend.secrets.postgres, database=database)
    stack = TestStack(backend, database=database)
    made = await _tables(stack, service)
    assert {"outbox", "inbox"} <= made
    await migrate(service, stack.owner_dsn(service), "base")
    assert await _tables(stack, service) <= {"alembic_version"}
    await migrate(service, stack.owner_dsn(service))
    assert await _tables(stack, service) == made


async def _tables(stack: TestStack, service: ServiceName) -> set[str]:
    connection = await asyncpg.connect(stack.owner_dsn(service))
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", service)
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def _described(stack: TestStack) -> list[str]:
    """Tables, rights and roles in words."""
    connection = await asyncpg.connect(stack.backend.servers.superuser_dsn, database=stack.database)
    try:
        rows = await connection.fetch(
            """
            SELECT 'rel ' || n.nspname || '.' || c.relname || ' ' || coalesce(c.relacl::text, '') AS line
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_'
            UNION ALL SELECT 'ns ' || nspname || ' ' || coalesce(nspacl::text, '') FROM pg_namespace
            UNION ALL SELECT 'db ' || datname || ' ' || coalesce(datacl::text, '')
              FROM pg_database WHERE datname = current_database()
            UNION ALL SELECT 'acl ' || defaclnamespace::text || defaclobjtype::text || defaclacl::text FROM pg_default_acl
            UNION ALL SELECT 'role ' || rolname || ' ' || rolsuper::text || rolcreatedb || rolcreaterole FROM pg_roles
            ORDER BY 1
            """
        )
        return [row["line"] for row in rows]
    finally:
        await connection.close()

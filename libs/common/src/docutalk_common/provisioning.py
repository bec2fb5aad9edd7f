"""Making the servers ready for the services: roles, schemas, rights, migrations, streams, durables, the bucket.

Run before the services start, by `docutalk up`, by the migration job of a deployment and by the tests. Everything here may
be run again at any time, also by two at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import nats
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from minio import Minio
from minio.error import S3Error

from docutalk_common.messaging import topology
from docutalk_common.messaging.streams import SERVICES, ServiceName

RoleKind = Literal["owner", "app"]

EXTENSIONS = ("vector", "pg_trgm", "unaccent", "citext")

# Any number: every provisioning takes the same lock, so that two at once run one after the other.
_LOCK = 7_221_540_118_305_223


def role(service: str, kind: RoleKind) -> str:
    """The role's name: `<service>_owner` migrates, `<service>_app` serves."""
    return f"{service}_{kind}"


ROLES: tuple[str, ...] = tuple(role(service, kind) for service in SERVICES for kind in ("owner", "app"))


def with_login(dsn: str, *, user: str, password: str, database: str) -> str:
    """The same server as another user in another database. The parts of the result are percent-encoded where needed."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}", path=f"/{quote(database, safe='')}"))


async def provision_postgres(superuser_dsn: str, passwords: Mapping[str, str], *, database: str = "docutalk") -> None:
    """Database, roles, schemas, rights, extensions, then every service's migrations.

    `superuser_dsn` names a superuser; the database in it doesn't matter. `passwords` has one for each of `ROLES`.
    Raises KeyError when a password is missing, and asyncpg's errors as they are.
    """
    missing = [name for name in ROLES if name not in passwords]
    if missing:
        raise KeyError(f"no password for the roles {', '.join(missing)}")
    async with _alone(superuser_dsn):
        async with _superuser(superuser_dsn, "postgres") as server:
            await _create_roles(server, passwords)
            if not await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
                # From template0: nobody can be connected to it, which would make this fail.
                await server.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
        async with _superuser(superuser_dsn, database) as inside:
            for service in SERVICES:
                await _create_schema(inside, service)
            await _close_database(inside, database)
            for extension in EXTENSIONS:
                await inside.execute(f'CREATE EXTENSION IF NOT EXISTS "{extension}" SCHEMA public')
            for service in SERVICES:
                owner = role(service, "owner")
                await migrate(service, with_login(superuser_dsn, user=owner, password=passwords[owner], database=database))
                await _protect_version_table(inside, service)


@contextlib.asynccontextmanager
async def _alone(superuser_dsn: str) -> AsyncIterator[None]:
    """Holds the lock of provisioning on a connection of its own; it ends with the connection, however that ends."""
    # Such locks belong to one database, so everybody must take it in the same one.
    connection = await asyncpg.connect(superuser_dsn, timeout=10, database="postgres")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=600)
        yield
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _superuser(dsn: str, database: str) -> AsyncIterator[asyncpg.Connection]:
    # What follows holds passwords in clear: it must not reach the server's log.
    silent = {
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_error_statement": "panic",
        "client_min_messages": "warning",
    }
    connection = await asyncpg.connect(dsn, timeout=10, database=database, server_settings=silent)
    try:
        yield connection
    finally:
        await connection.close()


async def _create_roles(connection: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    for name in ROLES:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
            await connection.execute(f'CREATE ROLE "{name}"')
        # DDL takes no parameters; the server itself quotes the password.
        statement = await connection.fetchval(
            "SELECT format('ALTER ROLE %I WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            " PASSWORD %L', $1::text, $2::text)",
            name,
            passwords[name],
        )
        await connection.execute(statement)


async def _create_schema(connection: asyncpg.Connection, service: str) -> None:
    owner, app = role(service, "owner"), role(service, "app")
    await connection.execute(
        f"""
        CREATE SCHEMA IF NOT EXISTS "{service}" AUTHORIZATION "{owner}";
        REVOKE ALL ON SCHEMA "{service}" FROM PUBLIC;
        GRANT USAGE ON SCHEMA "{service}" TO "{app}";
        ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" IN SCHEMA "{service}"
          GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "{app}";
        ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" IN SCHEMA "{service}"
          GRANT USAGE, SELECT ON SEQUENCES TO "{app}";
        ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
        ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" IN SCHEMA "{service}" GRANT EXECUTE ON FUNCTIONS TO "{app}";
        ALTER ROLE "{owner}" SET search_path = "{service}", public;
        ALTER ROLE "{app}" SET search_path = "{service}", public;
        """  # noqa: S608 - names come from the table of services
    )


async def _close_database(connection: asyncpg.Connection, database: str) -> None:
    everyone = ", ".join(f'"{name}"' for name in ROLES)
    await connection.execute(
        f"""
        REVOKE ALL ON DATABASE "{database}" FROM PUBLIC;
        REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
        REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
        GRANT CONNECT ON DATABASE "{database}" TO {everyone};
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        """
    )


async def _protect_version_table(connection: asyncpg.Connection, service: str) -> None:
    """A service may read how far its schema is migrated, not change it."""
    if await connection.fetchval("SELECT to_regclass($1)", f"{service}.alembic_version"):
        await connection.execute(f'REVOKE INSERT, UPDATE, DELETE ON "{service}".alembic_version FROM "{role(service, "app")}"')


def migrations_folder(service: str) -> Path | None:
    """The service's Alembic folder, inside its installed package or beside it in the source tree.

    None when the service has no migrations, or isn't installed here.
    """
    found = importlib.util.find_spec(f"docutalk_{service}")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    for folder in (package / "migrations", package.parents[1] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    return None


async def migrate(service: ServiceName | str, owner_dsn: str, target: str = "head") -> None:
    """Brings the service's schema to `target`: `head`, a revision, or `base` to go all the way back.

    Nothing happens when it has no migrations or is there already.
    """
    folder = migrations_folder(service)
    if folder is None:
        return
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", owner_dsn.replace("%", "%%"))
    if target == "head" and await _applied(owner_dsn, service) == set(ScriptDirectory.from_config(config).get_heads()):
        return
    # The service's env.py runs an event loop of its own, so it needs a thread without one.
    await asyncio.to_thread(_run_alembic, config, target)


# Alembic keeps the migration at hand in a module: one at a time.
_ONE_MIGRATION = threading.Lock()


def _run_alembic(config: Config, target: str) -> None:
    with _ONE_MIGRATION:
        if target == "base" or target.startswith("-"):
            command.downgrade(config, target)
        else:
            command.upgrade(config, target)


async def _applied(owner_dsn: str, service: str) -> set[str]:
    """The revisions that the schema has; empty when none was applied yet."""
    connection = await asyncpg.connect(owner_dsn, timeout=10)
    try:
        if not await connection.fetchval("SELECT to_regclass($1)", f"{service}.alembic_version"):
            return set()
        rows = await connection.fetch(f'SELECT version_num FROM "{service}".alembic_version')  # noqa: S608 - as above
        return {row["version_num"] for row in rows}
    finally:
        await connection.close()


async def provision_messaging(nats_url: str, *, user: str, password: str, update: bool = False) -> None:
    """Streams and durables, by the topology command. `user` needs the operator's rights.

    Raises `TopologyDrift` where the server differs from the table, unless `update` changes the server.
    """
    client = await nats.connect(nats_url, user=user, password=password, allow_reconnect=False, connect_timeout=5)
    try:
        await topology.apply(client, update=update)
    finally:
        await client.close()


async def provision_bucket(
    endpoint: str, *, access_key: str, secret_key: str, bucket: str, region: str = "us-east-1", secure: bool = False
) -> None:
    """The bucket, unless it exists. `endpoint` is `host:port`."""
    client = Minio(endpoint, access_key=access_key, secret_key=secret_key, region=region, secure=secure)

    def make() -> None:
        if client.bucket_exists(bucket):
            return
        try:
            client.make_bucket(bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    await asyncio.to_thread(make)

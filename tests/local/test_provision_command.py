"""`docutalk provision`: what a deployment runs before its services."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg
from docutalk_common.provisioning import ROLES
from docutalk_local.children import base_environment
from docutalk_local.home import OPERATOR
from docutalk_local.testing import Backend

DOCUTALK = str(Path(sys.executable).parent / "docutalk")


async def provision(folder: Path, **settings: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        DOCUTALK,
        "provision",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=base_environment() | settings,
        cwd=folder,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode, output.decode()


async def test_without_settings_it_names_each_that_is_missing(tmp_path: Path) -> None:
    code, output = await provision(tmp_path)
    assert code == 1
    for name in ("DOCUTALK_POSTGRES_SUPERUSER_DSN", "DOCUTALK_POSTGRES_PASSWORD_EMBED_APP", "DOCUTALK_NATS_OPERATOR_PASSWORD"):
        assert name in output


async def test_it_makes_empty_servers_ready_and_may_run_again(backend: Backend, tmp_path: Path) -> None:
    secrets, servers = backend.secrets, backend.servers
    keys = secrets.storage_keys(OPERATOR)
    # One of the passwords as a file, as container secrets are mounted.
    (tmp_path / "password").write_text(secrets.nats[OPERATOR] + "\n")
    settings = {
        "DOCUTALK_POSTGRES_SUPERUSER_DSN": servers.superuser_dsn,
        "DOCUTALK_POSTGRES_DATABASE": "by_command",
        **{f"DOCUTALK_POSTGRES_PASSWORD_{role.upper()}": secrets.postgres[role] for role in ROLES},
        "DOCUTALK_NATS_URL": servers.nats_url,
        "DOCUTALK_NATS_OPERATOR_PASSWORD_FILE": str(tmp_path / "password"),
        "DOCUTALK_S3_ENDPOINT": servers.s3_endpoint,
        "DOCUTALK_S3_ACCESS_KEY": keys.access_key,
        "DOCUTALK_S3_SECRET_KEY": keys.secret_key,
        "DOCUTALK_S3_BUCKET": "by-command",
    }
    for _ in range(2):
        code, output = await provision(tmp_path, **settings)
        assert (code, output.startswith("PostgreSQL, NATS and object storage are ready")) == (0, True), output
    connection = await asyncpg.connect(servers.superuser_dsn, database="by_command")
    try:
        made = {row["nspname"] for row in await connection.fetch("SELECT nspname FROM pg_namespace")}
        assert {"gateway", "ingest", "embed", "chat"} <= made
        assert await connection.fetchval("SELECT count(*) FROM ingest.alembic_version") == 1
    finally:
        await connection.close()


async def test_a_wrong_password_is_told_without_printing_it(backend: Backend, tmp_path: Path) -> None:
    wrong = backend.servers.superuser_dsn.replace(backend.secrets.postgres["postgres"], "not-the-password")
    settings = {f"DOCUTALK_POSTGRES_PASSWORD_{role.upper()}": backend.secrets.postgres[role] for role in ROLES}
    settings |= {"DOCUTALK_POSTGRES_SUPERUSER_DSN": wrong, "DOCUTALK_NATS_URL": "nats://127.0.0.1:1"}
    settings |= {"DOCUTALK_NATS_OPERATOR_PASSWORD": "x", "DOCUTALK_S3_ENDPOINT": "127.0.0.1:1"}
    settings |= {"DOCUTALK_S3_ACCESS_KEY": "operator", "DOCUTALK_S3_SECRET_KEY": "x"}
    code, output = await provision(tmp_path, **settings)
    assert code == 1
    assert "password authentication failed" in output
    assert "not-the-password" not in output
    assert "Traceback" not in output

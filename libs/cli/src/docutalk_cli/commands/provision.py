"""`docutalk provision`: the job that makes servers ready before the services start."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import typer
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.messaging.topology import TopologyDrift
from docutalk_common.provisioning import ROLES, provision_bucket, provision_messaging, provision_postgres


def provision(
    update: bool = typer.Option(False, "--update", help="Change streams and durables that differ, instead of failing."),
) -> None:
    """Make PostgreSQL, NATS and object storage ready: roles, schemas, migrations, streams, durables, the bucket.

    Reads DOCUTALK_POSTGRES_SUPERUSER_DSN, one password per role (DOCUTALK_POSTGRES_PASSWORD_GATEWAY_OWNER,
    ..._GATEWAY_APP and so on), DOCUTALK_NATS_URL and DOCUTALK_NATS_OPERATOR_PASSWORD, DOCUTALK_S3_ENDPOINT,
    DOCUTALK_S3_ACCESS_KEY, DOCUTALK_S3_SECRET_KEY, DOCUTALK_S3_BUCKET, DOCUTALK_S3_REGION, DOCUTALK_S3_SECURE.
    Each may also be given as a file, <NAME>_FILE. May be run again at any time.
    """
    missing = [name for name in _required() if not _value(name)]
    if missing:
        typer.echo("Not set: " + ", ".join(missing), err=True)
        raise typer.Exit(1)
    try:
        asyncio.run(_provision(update))
    except TopologyDrift as drift:
        typer.echo(f"{drift}\nRun with --update to change the server.", err=True)
        raise typer.Exit(1) from None
    typer.echo("PostgreSQL, NATS and object storage are ready for: " + ", ".join(SERVICES))


async def _provision(update: bool) -> None:
    await provision_postgres(
        _value("DOCUTALK_POSTGRES_SUPERUSER_DSN"),
        {role: _value(_password_name(role)) for role in ROLES},
        database=_value("DOCUTALK_POSTGRES_DATABASE", "docutalk"),
    )
    await provision_messaging(
        _value("DOCUTALK_NATS_URL"),
        user=_value("DOCUTALK_NATS_OPERATOR", "operator"),
        password=_value("DOCUTALK_NATS_OPERATOR_PASSWORD"),
        update=update,
    )
    await provision_bucket(
        _value("DOCUTALK_S3_ENDPOINT"),
        access_key=_value("DOCUTALK_S3_ACCESS_KEY"),
        secret_key=_value("DOCUTALK_S3_SECRET_KEY"),
        bucket=_value("DOCUTALK_S3_BUCKET", "docutalk"),
        region=_value("DOCUTALK_S3_REGION", "us-east-1"),
        secure=_value("DOCUTALK_S3_SECURE", "false").lower() in ("1", "true", "yes"),
    )


def _required() -> list[str]:
    return [
        "DOCUTALK_POSTGRES_SUPERUSER_DSN",
        *(_password_name(role) for role in ROLES),
        "DOCUTALK_NATS_URL",
        "DOCUTALK_NATS_OPERATOR_PASSWORD",
        "DOCUTALK_S3_ENDPOINT",
        "DOCUTALK_S3_ACCESS_KEY",
        "DOCUTALK_S3_SECRET_KEY",
    ]


def _password_name(role: str) -> str:
    return f"DOCUTALK_POSTGRES_PASSWORD_{role.upper()}"


def _value(name: str, default: str = "") -> str:
    """The setting, or the content of the file that `<NAME>_FILE` names."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else os.environ.get(name, default)

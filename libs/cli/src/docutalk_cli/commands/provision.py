"""`docutalk provision`: the job that makes servers ready before the services start."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import typer
from docutalk_common.errors import DocuTalkError
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.messaging.topology import TopologyDrift
from docutalk_common.provisioning_job import SettingsMissing, provision_from
from minio.error import MinioException
from nats.errors import Error as NatsError
from urllib3.exceptions import HTTPError


def provision(
    update: bool = typer.Option(False, "--update", help="Change streams and durables that differ, instead of failing."),
) -> None:
    """Make PostgreSQL, NATS and object storage ready: roles, schemas, migrations, streams, durables, the bucket.

    Reads DOCUTALK_POSTGRES_SUPERUSER_DSN, one password per role (DOCUTALK_POSTGRES_PASSWORD_GATEWAY_OWNER,
    ..._GATEWAY_APP and so on), DOCUTALK_NATS_URL and DOCUTALK_NATS_OPERATOR_PASSWORD, DOCUTALK_S3_ENDPOINT,
    DOCUTALK_S3_ACCESS_KEY, DOCUTALK_S3_SECRET_KEY, DOCUTALK_S3_BUCKET, DOCUTALK_S3_REGION, DOCUTALK_S3_SECURE, and, to
    make the services' users at MinIO, one key per service (DOCUTALK_S3_SECRET_KEY_GATEWAY and so on).
    Each may also be given as a file, <NAME>_FILE. May be run again at any time.
    """
    try:
        asyncio.run(provision_from(os.environ, update=update))
    except SettingsMissing as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except TopologyDrift as drift:
        typer.echo(f"{drift}\nRun with --update to change the server.", err=True)
        raise typer.Exit(1) from None
    except (asyncpg.PostgresError, DocuTalkError, NatsError, MinioException, HTTPError, OSError) as error:
        typer.echo(f"A server could not be made ready: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("PostgreSQL, NATS and object storage are ready for: " + ", ".join(SERVICES))

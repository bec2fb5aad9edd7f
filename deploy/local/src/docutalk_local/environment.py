"""The environment that each service is started with: the servers' addresses and its own credentials, nobody else's."""

from __future__ import annotations

from dataclasses import dataclass

from docutalk_common.messaging.streams import ServiceName
from docutalk_common.provisioning import role, with_login

from docutalk_local.home import Secrets

BUCKET = "docutalk"
DATABASE = "docutalk"
REGION = "us-east-1"


@dataclass(frozen=True)
class Servers:
    """Where the three servers listen. `superuser_dsn` is not for services."""

    superuser_dsn: str
    nats_url: str
    s3_endpoint: str


def role_dsn(servers: Servers, secrets: Secrets, service: str, *, owner: bool = False, database: str = DATABASE) -> str:
    """How a service reaches its schema; as `owner`, how its migrations do."""
    name = role(service, "owner" if owner else "app")
    return with_login(servers.superuser_dsn, user=name, password=secrets.postgres[name], database=database)


def service_environment(
    service: ServiceName, servers: Servers, secrets: Secrets, *, database: str = DATABASE, bucket: str = BUCKET
) -> dict[str, str]:
    """What `ServiceSettings` of that service needs."""
    keys = secrets.storage_keys(service)
    return {
        "DOCUTALK_POSTGRES_DSN": role_dsn(servers, secrets, service, database=database),
        "DOCUTALK_NATS_URL": servers.nats_url,
        "DOCUTALK_NATS_USER": service,
        "DOCUTALK_NATS_PASSWORD": secrets.nats[service],
        "DOCUTALK_S3_ENDPOINT": servers.s3_endpoint,
        "DOCUTALK_S3_ACCESS_KEY": keys.access_key,
        "DOCUTALK_S3_SECRET_KEY": keys.secret_key,
        "DOCUTALK_S3_BUCKET": bucket,
        "DOCUTALK_S3_REGION": REGION,
        "DOCUTALK_S3_SECURE": "false",
    }

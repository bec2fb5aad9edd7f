"""The servers that tests run against, and a provisioned stack on them. The fixtures are in the root `conftest.py`."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from docutalk_common.messaging.streams import ServiceName
from docutalk_common.provisioning import provision_bucket, provision_messaging, provision_postgres

from docutalk_local.environment import BUCKET, DATABASE, REGION, Servers, role_dsn, service_environment
from docutalk_local.home import OPERATOR, Secrets

ServerName = Literal["postgres", "nats", "storage"]


class Backend(Protocol):
    """PostgreSQL, NATS and S3 for one test session, empty at the start.

    NATS runs with `topology.server_config`, so that each service has a user of its own; `secrets` holds every password.
    A server that was killed or stopped and started again has the same address and the same data.
    """

    servers: Servers
    secrets: Secrets

    async def start(self) -> None:
        """Start all three and wait until they are ready."""

    async def stop(self) -> None:
        """Stop all three and remove their data."""

    async def kill_server(self, name: ServerName) -> None:
        """`kill -9`; returns when it is gone. It stays down."""

    async def stop_server(self, name: ServerName) -> None:
        """An orderly stop. It stays down."""

    async def start_server(self, name: ServerName) -> None:
        """Start a server that is down, and wait until it is ready."""

    def server_log(self, name: ServerName) -> str:
        """What the server has written so far."""


def make_backend(folder: Path) -> Backend:
    """The backend named by `DOCUTALK_TEST_BACKEND`: `embedded` (the default) or `containers`. State goes into `folder`."""
    name = os.environ.get("DOCUTALK_TEST_BACKEND", "embedded")
    if name not in ("embedded", "containers"):
        raise ValueError(f"DOCUTALK_TEST_BACKEND is {name!r}; it may be embedded or containers")
    module = importlib.import_module(f"docutalk_local.testing.{name}")
    backend: Backend = module.make(folder)
    return backend


@dataclass(frozen=True)
class TestStack:
    """A backend that is provisioned: roles, schemas, migrations, streams, durables and the bucket exist."""

    __test__ = False

    backend: Backend
    database: str = DATABASE
    bucket: str = BUCKET

    @classmethod
    async def provisioned(cls, backend: Backend) -> TestStack:
        """Provision the backend, as `docutalk up` does."""
        stack = cls(backend)
        servers, secrets = backend.servers, backend.secrets
        await provision_postgres(servers.superuser_dsn, secrets.postgres, database=stack.database)
        await provision_messaging(servers.nats_url, user=OPERATOR, password=secrets.nats[OPERATOR])
        keys = secrets.storage_keys(OPERATOR)
        await provision_bucket(
            servers.s3_endpoint,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            bucket=stack.bucket,
            region=REGION,
        )
        return stack

    def service_environment(self, service: ServiceName) -> dict[str, str]:
        """What a service needs to start: its own credentials only, nothing of the surrounding environment."""
        return service_environment(
            service, self.backend.servers, self.backend.secrets, database=self.database, bucket=self.bucket
        )

    def app_dsn(self, service: ServiceName) -> str:
        """The schema as the running service sees it."""
        return role_dsn(self.backend.servers, self.backend.secrets, service, database=self.database)

    def owner_dsn(self, service: ServiceName) -> str:
        """The schema as its migrations see it."""
        return role_dsn(self.backend.servers, self.backend.secrets, service, owner=True, database=self.database)

    @property
    def nats_operator(self) -> dict[str, str]:
        """Arguments for `nats.connect` with all rights, to look at streams and durables in a test."""
        return {
            "servers": self.backend.servers.nats_url,
            "user": OPERATOR,
            "password": self.backend.secrets.nats[OPERATOR],
        }

"""Everything that `docutalk up` runs, in order: the servers, what they must hold, the services."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from docutalk_common.messaging.streams import SERVICES, ServiceName
from docutalk_common.provisioning import provision_bucket, provision_messaging, provision_postgres

from docutalk_local.children import Program, base_environment
from docutalk_local.environment import BUCKET, REGION, Servers, service_environment
from docutalk_local.errors import PortInUse, StartError
from docutalk_local.home import OPERATOR, Home, Secrets
from docutalk_local.nats_server import NatsServer
from docutalk_local.object_storage import ObjectStorageServer
from docutalk_local.ports import is_free
from docutalk_local.postgres import PostgresServer
from docutalk_local.supervisor import Report, Supervisor

Step = Callable[[str], AbstractContextManager[None]]
"""Entered around each part of the start, with its name, so that somebody can show it."""

# Settings that only one service may see; every other `DOCUTALK_*` goes to all, and a service ignores what isn't its own.
_ONLY_FOR: Mapping[str, ServiceName] = {
    "DOCUTALK_ADMIN_": "gateway",
    "DOCUTALK_JWT_": "gateway",
    "USERS_OPEN_REGISTRATION": "gateway",
    "CORS_ORIGINS": "gateway",
    "DOCUTALK_LLM_": "chat",
    "OPENAI_API_KEY": "chat",
    "ANTHROPIC_API_KEY": "chat",
    "OLLAMA_HOST": "chat",
    "DOCUTALK_SEARCH_": "ingest",
    "DOCUTALK_EMBED_": "embed",
}
# What no service may take from a person's environment: what the stack decides, a deployment's passwords (the file .env
# serves compose, too), and the sign-in of whoever uses the commands.
_NOT_HANDED_ON = (
    "DOCUTALK_POSTGRES_DSN",
    "DOCUTALK_POSTGRES_PASSWORD",
    "DOCUTALK_POSTGRES_SUPERUSER_DSN",
    "DOCUTALK_NATS_",
    "DOCUTALK_S3_",
    "DOCUTALK_PROBE_",
    "DOCUTALK_HOME",
    "DOCUTALK_TEST_",
    "DOCUTALK_URL",
    "DOCUTALK_EMAIL",
    "DOCUTALK_PASSWORD",
    "DOCUTALK_TOKEN",
    "DOCUTALK_WORKSPACE",
)


@dataclass(frozen=True)
class Options:
    """What a person may choose about a local run."""

    port: int = 8000
    host: str = "127.0.0.1"
    admin_email: str = "admin@example.com"
    admin_password: str | None = None
    """For an account that doesn't exist yet. None: made at random and kept in the state folder."""
    services: tuple[ServiceName, ...] = SERVICES
    durable: bool = True
    """False trades safety in a power cut for speed. For tests."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Where the services' own settings are taken from."""


class LocalStack:
    """One running installation in one state folder. The caller holds the folder's lock."""

    def __init__(self, home: Home, options: Options, *, report: Report = lambda name, sentence: None) -> None:
        self.home = home
        self.options = options
        self.secrets: Secrets = home.secrets()
        self.admin_password = home.admin_password(options.admin_email, options.admin_password)
        self.postgres = PostgresServer(
            home.folder / "postgres",
            home.port("postgres"),
            self.secrets.postgres["postgres"],
            home.log("postgres"),
            options.durable,
        )
        self.nats = NatsServer(home.folder / "nats", home.port("nats"), self.secrets.nats, home.log("nats"), options.durable)
        keys = [self.secrets.storage_keys(user) for user in self.secrets.storage]
        self.storage = ObjectStorageServer(home.folder / "objects", home.port("storage"), keys, home.log("storage"))
        self.servers = Servers(self.postgres.superuser_dsn, self.nats.url, self.storage.endpoint)
        self.supervisor = Supervisor(report=report, record=home.record)
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://{self.options.host}:{self.options.port}"

    async def start(self, step: Step = lambda name: contextlib.nullcontext()) -> None:
        """Start everything and return when it works. Raises `StartError`; what runs by then is left to `stop`."""
        if not is_free(self.options.port, self.options.host):
            raise PortInUse(
                f"port {self.options.port} is in use by another program. Stop it, or choose another port with --port or"
                " DOCUTALK_PORT."
            )
        with step("PostgreSQL, NATS and object storage"):
            for server in (self.postgres, self.nats, self.storage):
                await server.prepare()
            await self.supervisor.start([self.postgres.program(), self.nats.program(), self.storage.program()])
        with step("Schemas, streams and the bucket"):
            try:
                await self._provision()
            except ExceptionGroup as group:
                cause = group.exceptions[0]
                raise StartError(f"the servers could not be made ready: {type(cause).__name__}: {cause}") from cause
        with step("Services: " + ", ".join(self.options.services)):
            await self.supervisor.start([self.service(name) for name in self.options.services])
        if "gateway" in self.options.services:
            self.home.admin_was_made(self.options.admin_email)
        self._sweeping = asyncio.create_task(asyncio.to_thread(self.storage.sweep))

    async def _provision(self) -> None:
        """Make the servers ready for the services. The streams are ours alone, so a newer table simply changes them."""
        keys = self.secrets.storage_keys(OPERATOR)
        async with asyncio.TaskGroup() as group:
            group.create_task(provision_postgres(self.servers.superuser_dsn, self.secrets.postgres))
            group.create_task(
                provision_messaging(self.servers.nats_url, user=OPERATOR, password=self.secrets.nats[OPERATOR], update=True)
            )
            group.create_task(
                provision_bucket(
                    self.servers.s3_endpoint,
                    access_key=keys.access_key,
                    secret_key=keys.secret_key,
                    bucket=BUCKET,
                    region=REGION,
                )
            )

    async def stop(self) -> None:
        """Stop the gateway, then the other services, then the servers."""
        await self.supervisor.stop()
        if self._sweeping is not None:
            await self._sweeping

    def service(self, name: ServiceName) -> Program:
        """How to run one service."""
        probe = self.home.port(f"{name}-probe")
        environment = base_environment() | self._settings(name) | service_environment(name, self.servers, self.secrets)
        environment |= {"DOCUTALK_PROBE_HOST": "127.0.0.1", "DOCUTALK_PROBE_PORT": str(probe), "PYTHONUNBUFFERED": "1"}
        if name == "gateway":
            environment |= {
                "DOCUTALK_HOST": self.options.host,
                "DOCUTALK_PORT": str(self.options.port),
                "DOCUTALK_ADMIN_EMAIL": self.options.admin_email,
                "DOCUTALK_ADMIN_PASSWORD": self.admin_password,
                "DOCUTALK_JWT_SECRET": self.secrets.jwt,
            }
        return Program(
            name=name,
            command=[sys.executable, "-m", f"docutalk_{name}"],
            environment=environment,
            log=self.home.log(name),
            ready=partial(_answers, probe, "/readyz"),
            alive=partial(_answers, probe, "/livez"),
            ready_within=120.0,
            # Services let their handlers finish for 25 s.
            grace=30.0,
            # The gateway goes first, so that nobody asks services that are no longer there.
            stage=2 if name == "gateway" else 1,
        )

    def _settings(self, service: ServiceName) -> dict[str, str]:
        return dict(settings_for(service, self.options.environment))


def settings_for(service: ServiceName, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those of a person's settings that a service is given."""
    for name, value in environment.items():
        # Present but empty counts as absent, as compose files write it.
        if not value or name.startswith(_NOT_HANDED_ON):
            continue
        owner = next((owner for prefix, owner in _ONLY_FOR.items() if name.startswith(prefix)), None)
        if owner == service or (owner is None and name.startswith("DOCUTALK_")):
            yield name, value


async def _answers(port: int, path: str) -> bool:
    """Whether a probe answers 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
        return b" 200 " in await reader.readline()
    finally:
        writer.close()

"""The servers as containers, started by testcontainers: the images that compose.yaml names, on the machine's Docker engine.

`DOCUTALK_POSTGRES_IMAGE`, `DOCUTALK_NATS_IMAGE` and `DOCUTALK_STORAGE_IMAGE` choose others, as they do for compose.
`TESTCONTAINERS_RYUK_DISABLED=true` leaves out testcontainers' own cleaner, where its image is not to be had.
"""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import nats
from docutalk_common.messaging.topology import server_config
from docutalk_common.process import wait_until
from docutalk_common.provisioning import with_login
from docutalk_common.storage_users import provision_storage_users
from nats.errors import Error as NatsError
from testcontainers.community.minio import MinioContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from docutalk_local.environment import BUCKET, REGION, Servers
from docutalk_local.home import OPERATOR, Secrets
from docutalk_local.ports import free_port

_NATS_CONFIG = "/etc/docutalk-nats.conf"
_READY_SECONDS = 60.0


def postgres_image() -> str:
    """PostgreSQL with pgvector."""
    return os.environ.get("DOCUTALK_POSTGRES_IMAGE", "pgvector/pgvector:pg18")


def nats_image() -> str:
    """NATS with a shell's tools, which its health check under compose needs."""
    return os.environ.get("DOCUTALK_NATS_IMAGE", "nats:2.15-alpine")


def storage_image() -> str:
    """MinIO."""
    return os.environ.get("DOCUTALK_STORAGE_IMAGE", "minio/minio:RELEASE.2025-09-07T16-13-09Z")


class ContainersBackend:
    """One container for each server, on host ports of their own: Docker would choose others at every start."""

    def __init__(self) -> None:
        self.secrets = Secrets()
        postgres_port = free_port()
        nats_port = free_port()
        storage_port = free_port()
        self._postgres = _postgres(self.secrets, postgres_port)
        self._nats = _nats(self.secrets, nats_port)
        self._storage = _storage(self.secrets, storage_port)
        self._containers: dict[str, DockerContainer] = {
            "postgres": self._postgres,
            "nats": self._nats,
            "storage": self._storage,
        }
        host = self._postgres.get_docker_client().host()
        # IPv6 comes first in that name, and the ports are published on IPv4.
        host = "127.0.0.1" if host == "localhost" else host
        superuser = with_login(
            f"postgresql://{host}:{postgres_port}",
            user="postgres",
            password=self.secrets.postgres["postgres"],
            database="postgres",
        )
        self.servers = Servers(superuser, f"nats://{host}:{nats_port}", f"{host}:{storage_port}")
        self._answers: dict[str, Callable[[], Awaitable[bool]]] = {
            "postgres": self._postgres_answers,
            "nats": self._nats_answers,
            "storage": self._storage_answers,
        }

    async def start(self) -> None:
        for name, container in self._containers.items():
            await asyncio.to_thread(container.start)
            await self._ready(name)
        keys = self.secrets.storage_keys(OPERATOR)
        await provision_storage_users(
            self.servers.s3_endpoint,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            users=self.secrets.storage,
            bucket=BUCKET,
            region=REGION,
        )

    async def stop(self) -> None:
        for container in self._containers.values():
            await asyncio.to_thread(container.stop)

    async def kill_server(self, name: str) -> None:
        container = self._containers[name].get_wrapped_container()
        await asyncio.to_thread(container.kill)
        await asyncio.to_thread(container.wait, timeout=30)

    async def stop_server(self, name: str) -> None:
        await asyncio.to_thread(self._containers[name].get_wrapped_container().stop, timeout=60)

    async def start_server(self, name: str) -> None:
        await asyncio.to_thread(self._containers[name].get_wrapped_container().start)
        await self._ready(name)

    def server_log(self, name: str) -> str:
        return bytes(self._containers[name].get_wrapped_container().logs()).decode(errors="replace")

    async def _ready(self, name: str) -> None:
        await wait_until(self._answers[name], seconds=_READY_SECONDS, what=f"the container of {name} answers", every=0.1)

    async def _postgres_answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.servers.superuser_dsn, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    async def _nats_answers(self) -> bool:
        # A lost attempt is expected here; nats-py would print its trace.
        async def ignore(_: Exception) -> None:
            return None

        try:
            client = await nats.connect(
                self.servers.nats_url,
                user=OPERATOR,
                password=self.secrets.nats[OPERATOR],
                allow_reconnect=False,
                connect_timeout=2,
                error_cb=ignore,
            )
        except (OSError, NatsError):
            return False
        try:
            await client.jetstream(timeout=2).account_info()
        except NatsError:
            return False
        finally:
            await client.close()
        return True

    async def _storage_answers(self) -> bool:
        url = f"http://{self.servers.s3_endpoint}/minio/health/ready"

        def ask() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        return await asyncio.to_thread(ask)


def _postgres(secrets: Secrets, port: int) -> PostgresContainer:
    container = PostgresContainer(
        postgres_image(), username="postgres", password=secrets.postgres["postgres"], dbname="postgres", driver=None
    )
    # As for the embedded server under test: a kill loses nothing, a crash of the machine may.
    container.with_command("postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=120")
    container.with_bind_ports(5432, port)
    return container


def _nats(secrets: Secrets, port: int) -> DockerContainer:
    config = server_config(secrets.nats, host="0.0.0.0", port=4222, store_dir="/data", sync_always=False)  # noqa: S104 - a container
    container = DockerContainer(nats_image())
    container.with_command(f"nats-server --config {_NATS_CONFIG}")
    container.with_copy_into_container(config.encode(), _NATS_CONFIG)
    container.with_bind_ports(4222, port)
    return container


def _storage(secrets: Secrets, port: int) -> MinioContainer:
    root = secrets.storage_keys(OPERATOR)
    container = MinioContainer(storage_image(), access_key=root.access_key, secret_key=root.secret_key)
    # testcontainers sets the names of years ago.
    container.with_env("MINIO_ROOT_USER", root.access_key).with_env("MINIO_ROOT_PASSWORD", root.secret_key)
    container.with_bind_ports(9000, port)
    return container


def make(folder: Path) -> ContainersBackend:
    """Called by `make_backend`. Containers keep their data themselves: nothing goes into `folder`."""
    return ContainersBackend()

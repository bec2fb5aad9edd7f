"""A stand-in for MinIO's image: rclone serves the objects, and this serves the part of MinIO's admin interface that is used.

It knows `add-user`, whose body it decrypts as MinIO does, accepts the two policy calls without applying them, and answers
`/minio/health/*`. Every other connection is passed on to rclone byte by byte. `storage.py server FOLDER [--address :PORT]`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from minio.crypto import decrypt
from urllib3 import BaseHTTPResponse, HTTPResponse

INSIDE = 9100


class Rclone:
    """The server behind, started anew when a user is added; its users survive in a file beside the objects."""

    def __init__(self, folder: Path) -> None:
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True, exist_ok=True)
        self._file = folder / "users.json"
        self.root = (os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
        self.users: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._process: asyncio.subprocess.Process | None = None
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        pairs = {**self.users, self.root[0]: self.root[1]}
        self._process = await asyncio.create_subprocess_exec(
            *("rclone", "serve", "s3", str(self.objects), "--addr", f"127.0.0.1:{INSIDE}", "--vfs-cache-mode", "off"),
            *("--multipart-streaming-buffer-limit", "32M", "--dir-cache-time", "1s", "--no-checksum"),
            env={
                "PATH": os.environ["PATH"],
                "RCLONE_AUTH_KEY": ",".join(f'"{user},{key}"' for user, key in pairs.items()),
                "RCLONE_CONFIG": "/dev/null",
            },
        )
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", INSIDE)
                writer.close()
                return
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def add(self, user: str, key: str) -> None:
        async with self._changing:
            if self.users.get(user) == key:
                return
            self.users[user] = key
            self._file.write_text(json.dumps(self.users))
            await self.stop()
            await self.start()


def decrypted(body: bytes, key: str) -> bytes:
    """What the admin client encrypted; the library's reader wants a response."""
    response: BaseHTTPResponse = HTTPResponse(body=io.BytesIO(body), preload_content=False)
    return bytes(decrypt(response, key))


async def administer(rclone: Rclone, method: str, target: str, body: bytes) -> int:
    """The HTTP status of a call below `/minio/`."""
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    match method, parts.path:
        case "GET", "/minio/health/live" | "/minio/health/ready":
            return 200
        case "PUT", "/minio/admin/v3/add-user":
            # Only who knows the root user's key could have encrypted it.
            user = json.loads(decrypted(body, rclone.root[1]))
            await rclone.add(query["accessKey"], user["secretKey"])
            return 200
        case "PUT", "/minio/admin/v3/add-canned-policy" | "/minio/admin/v3/set-user-or-group-policy":
            return 200
    return 404


async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def connected(rclone: Rclone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first = await reader.readline()
    while first.split(b" ")[1:2] and first.split(b" ")[1].startswith(b"/minio/"):
        length = 0
        while (line := await reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await reader.readexactly(length)
        method, target = first.decode().split(" ")[:2]
        status = await administer(rclone, method, target, body)
        writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        first = await reader.readline()
    if not first:
        writer.close()
        return
    try:
        inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", INSIDE)
    except OSError:
        writer.close()
        return
    inside_writer.write(first)
    await asyncio.gather(splice(reader, inside_writer), splice(inside_reader, writer))


async def main(folder: Path, port: int) -> None:
    rclone = Rclone(folder)
    await rclone.start()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = await asyncio.start_server(lambda reader, writer: connected(rclone, reader, writer), "0.0.0.0", port)
    async with server:
        await stopping.wait()
    await rclone.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["server"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default=":9000")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.folder, int(arguments.address.rpartition(":")[2]))))

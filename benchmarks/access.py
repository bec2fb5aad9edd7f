"""What it costs that each request is looked at, and how fast a workspace is taken along.

    python benchmarks/access.py [--mebibytes 300] [--only requests,archives]

Everything goes through the public API of a DocuTalk that it starts in a temporary folder.

- requests: a small GET in a workspace, one after the other and 16 at a time, as a person, with an API key and as a visitor of a
  share link; beside it a route of the same server that asks nobody anything (`/livez`), and the same statements bare.
- archives: export and import of a workspace with files of random bytes; beside it the same files read from and written to the
  same object store, without anything around it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_local.environment import role_dsn, service_environment
from docutalk_local.testing.system import Person, System, running_system

PARTS = ("requests", "archives")
MEBIBYTE = 1 << 20
FILES = 6
ROUNDS = 5
REQUESTS = 400
AT_ONCE = 16
# What a request in a workspace asks, in one transaction that only reads.
_STATEMENTS = (
    "SELECT u.* FROM users u JOIN sign_ins s ON s.user_id = u.id WHERE s.id = $1",
    "SELECT w.*, m.role FROM workspaces w JOIN members m ON m.workspace_id = w.id WHERE w.id = $1",
)


async def requests(system: System) -> None:
    """Medians of rounds that alternate, in requests a second."""
    person = await system.register("reader@example.com")
    path = f"/api/v1/workspaces/{person.workspace}/usage"
    shared = f"/api/v1/workspaces/{person.workspace}/documents"
    made = await person.http.post("/api/v1/users/me/api-keys", json={"name": "benchmark"})
    share = await person.call("POST", "/shares", json={"target": {"kind": "workspace"}, "permissions": ["view"]})
    async with contextlib.AsyncExitStack() as stack:

        async def client(token: str | None = None) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return await stack.enter_async_context(httpx.AsyncClient(base_url=system.stack.url, headers=headers, timeout=60))

        nobody = await client()
        opened = (await nobody.post(f"/api/v1/shared/{share['token']}/open", json={})).json()
        program, visitor = await client(made.json()["key"]), await client(opened["access_token"])
        members = f"/api/v1/workspaces/{person.workspace}/members"
        calls = {
            "/livez, asks nobody": (nobody, "/livez"),
            "person, members": (person.http, members),
            "API key, members": (program, members),
            "person, documents (asks ingest)": (person.http, shared),
            "visitor, documents (asks ingest)": (visitor, shared),
            "person, usage (asks ingest)": (person.http, path),
        }
        alone: dict[str, list[float]] = {name: [] for name in calls}
        together: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, (http, url) in calls.items():
                # A visitor is let ask 600 times a minute.
                count = REQUESTS if http is not visitor else 50
                alone[name].append(await _rate(http, url, count // 4, 1))
                together[name].append(await _rate(http, url, count, AT_ONCE))
        bare = statistics.median([await _bare(system) for _ in range(ROUNDS)])
    print(f"\n{'requests/s':<36}{'one by one':>12}{f'{AT_ONCE} at once':>12}{'of /livez':>11}")
    first = statistics.median(together["/livez, asks nobody"])
    for name in calls:
        rate = statistics.median(together[name])
        print(f"{name:<36}{statistics.median(alone[name]):>12.0f}{rate:>12.0f}{rate / first:>11.2f}")
    print(f"{'the statements of a request, bare':<36}{bare:>12.0f}")


async def _rate(http: httpx.AsyncClient, url: str, count: int, at_once: int) -> float:
    async def some(share: int) -> None:
        for _ in range(share):
            answer = await http.get(url)
            if answer.status_code != httpx.codes.OK:
                sys.exit(f"{url} answered {answer.status_code}: {answer.text}")

    started = time.perf_counter()
    await asyncio.gather(*(some(count // at_once) for _ in range(at_once)))
    return (count // at_once) * at_once / (time.perf_counter() - started)


async def _bare(system: System) -> float:
    connection = await asyncpg.connect(
        role_dsn(system.stack.servers, system.stack.secrets, "gateway"), server_settings={"search_path": "gateway"}
    )
    nothing = "01890000-0000-7000-8000-000000000001"
    try:
        started = time.perf_counter()
        for _ in range(REQUESTS):
            async with connection.transaction(readonly=True):
                for statement in _STATEMENTS:
                    await connection.fetch(statement, nothing)
        return REQUESTS / (time.perf_counter() - started)
    finally:
        await connection.close()


async def archives(system: System, mebibytes: int) -> None:
    """Export and import, in turns with the bare store."""
    person = await system.register("mover@example.com")
    content = [os.urandom(mebibytes * MEBIBYTE // FILES) for _ in range(FILES)]
    # Of no known kind: nothing is read of them, and nothing else is busy.
    await person.upload([(f"file-{number}.bin", data) for number, data in enumerate(content)])
    settings = ServiceSettings.from_environment(service_environment("gateway", system.stack.servers, system.stack.secrets))
    storage = ObjectStorage(settings, threads=4)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "workspace.zip"
        keys = await storage.keys(f"{person.workspace}/")
        reading = await _seconds(lambda: _read(storage, keys))
        exporting = await _seconds(lambda: _export(person, archive))
        writing = await _seconds(lambda: _write(storage, content))
        importing = await _seconds(lambda: _import(person, archive))
        size = archive.stat().st_size / MEBIBYTE
    storage.close()
    print(f"\n{size:,.0f} MiB in {FILES} files    MiB/s    bare    ratio")
    print(f"export, beside reading the files    {size / exporting:>7.0f}{size / reading:>8.0f}{reading / exporting:>9.2f}")
    print(f"import until it is there, beside writing them {size / importing:.0f} {size / writing:.0f} {writing / importing:.2f}")
    print("(an import is stored once as it comes, read and checked as a whole, and then copied: four passes over the store)")


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def _read(storage: ObjectStorage, keys: list[str]) -> None:
    for key in keys:
        async for _ in storage.iterate(key):
            pass


async def _write(storage: ObjectStorage, content: list[bytes]) -> None:
    async def pieces(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), MEBIBYTE):
            yield data[start : start + MEBIBYTE]

    keys = [f"benchmark/{number}" for number in range(len(content))]
    for key, data in zip(keys, content, strict=True):
        await storage.upload_stream(key, pieces(data), content_type="application/octet-stream")
    await storage.delete(keys)


async def _export(person: Person, archive: Path) -> None:
    with archive.open("wb") as file:
        async with person.http.stream("GET", f"/api/v1/workspaces/{person.workspace}/export", timeout=600) as answer:
            async for piece in answer.aiter_bytes(MEBIBYTE):
                file.write(piece)


async def _import(person: Person, archive: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        with archive.open("rb") as file:
            while piece := file.read(MEBIBYTE):
                yield piece

    headers = {"Content-Type": "application/zip"}
    answer = await person.http.post("/api/v1/imports", content=pieces(), headers=headers, timeout=600)
    import_id = answer.raise_for_status().json()["id"]
    while (found := (await person.http.get(f"/api/v1/imports/{import_id}")).json())["status"] not in {"done", "failed"}:
        await asyncio.sleep(0.2)
    if found["status"] == "failed":
        sys.exit(found["reason"])


async def main(parts: list[str], mebibytes: int) -> None:
    """Runs what was chosen."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_system(Path(folder), durable=False) as system:
            if "requests" in parts:
                await requests(system)
            if "archives" in parts:
                await archives(system, mebibytes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=300, help="how much the files of the workspace hold together")
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    arguments = parser.parse_args()
    asyncio.run(main(arguments.only.split(","), arguments.mebibytes))

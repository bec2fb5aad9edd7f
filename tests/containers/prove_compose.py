"""Proves a running `docker compose up` from outside, with a real document: `prove_compose.py FILE QUESTION`.

Every container is healthy and runs without root, the document gets ready, the answer cites words that stand on the page it
names, and every service that is killed comes back by itself. Prints what it saw; exit code 1 at the first thing that is
not so. Reads .env; `COMPOSE` names the command (`docker compose`).
"""
# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

SERVICES = ("gateway", "ingest", "embed", "chat")
SERVERS = ("postgres", "nats", "storage")
COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker compose"))

# Ends the service inside its container, as a crash would: `docker kill` counts as stopped by hand and is not restarted.
KILL = """
import os, pathlib, signal
for entry in pathlib.Path("/proc").iterdir():
    command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
    if b"-m\\0docutalk_" in command:
        os.kill(int(entry.name), signal.SIGKILL)
"""


def run(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def container(name: str) -> str:
    """The id of the container of a compose service, running or not."""
    return run(*COMPOSE, "ps", "-a", "-q", name)


def state(name: str) -> dict[str, Any]:
    """Docker's state of the container."""
    found: dict[str, Any] = json.loads(run("docker", "inspect", "--format", "{{json .State}}", container(name)))
    return found


def wait(what: str, check: Callable[[], bool], seconds: float) -> float:
    """Seconds until `check` holds; the end of the program when it takes longer."""
    start = time.monotonic()
    while not check():
        if time.monotonic() - start > seconds:
            sys.exit(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - start


def healthy(name: str) -> bool:
    """Whether its health check passes."""
    now = state(name)
    return bool(now["Running"]) and now["Health"]["Status"] == "healthy"


def is_up(client: httpx.Client) -> bool:
    """Whether the gateway and what it needs answer."""
    try:
        return bool(client.get("/health").json()["status"] == "ok")
    except (httpx.HTTPError, ValueError):
        return False


def ask(client: httpx.Client, workspace: str, question: str) -> None:
    """Asks, prints the answer, and holds every quote against its page."""
    start = time.monotonic()
    answer = client.post(f"{workspace}/chat", json={"message": question}).raise_for_status().json()
    print(f"answer after {time.monotonic() - start:.1f} s: {answer['response'][:300]}")
    if not answer["citations"]:
        sys.exit("the answer cites nothing")
    for cited in answer["citations"]:
        page = client.get(f"{workspace}/documents/{cited['document_id']}/pages/{cited['page']}").raise_for_status().json()
        if page["text"][cited["start"] : cited["end"]] != cited["quote"]:
            sys.exit(f"the quote does not stand on page {cited['page']}: {cited['quote']!r}")
        print(f"  [{cited['marker']}] {cited['filename']}, p. {cited['page']}: the quote stands there")


def main(file: Path, question: str, env: Path) -> None:
    """Everything in order."""
    settings = dict(line.split("=", 1) for line in env.read_text().splitlines() if "=" in line and not line.startswith("#"))
    for name in (*SERVERS, *SERVICES):
        wait(f"{name} is healthy", lambda name=name: healthy(name), 180)  # type: ignore[misc]
    print("healthy: " + ", ".join((*SERVERS, *SERVICES)))
    if (job := state("provision"))["ExitCode"] != 0 or job["Running"]:
        sys.exit("the provisioning job has not ended well")
    for name in SERVICES:
        identity = run("docker", "exec", container(name), "id")
        print(f"{name}: {identity}")
        if "uid=0" in identity:
            sys.exit(f"{name} runs as root")

    base = f"http://{settings.get('DOCUTALK_BIND', '127.0.0.1')}:{settings['DOCUTALK_PORT']}"
    with httpx.Client(base_url=base, timeout=120) as client:
        login = {"email": settings["DOCUTALK_ADMIN_EMAIL"], "password": settings["DOCUTALK_ADMIN_PASSWORD"]}
        token = client.post("/api/v1/auth/login", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        workspace = f"/api/v1/workspaces/{client.get('/api/v1/users/me').json()['default_workspace_id']}"

        with file.open("rb") as content:
            uploaded = client.post(f"{workspace}/documents", files={"file": (file.name, content)}).raise_for_status().json()
        document = f"{workspace}/documents/{uploaded['documents'][0]['id']}"

        def ready() -> bool:
            found = client.get(document).raise_for_status().json()
            if found["status"] == "failed":
                sys.exit(f"the document failed: {found['reason']}")
            return bool(found["status"] == "ready")

        took = wait("the document is ready", ready, 600)
        found = client.get(document).json()
        print(f"{file.name}: {found['page_count']} pages, {found['chunk_count']} chunks, ready after {took:.1f} s")
        ask(client, workspace, question)

        for name in SERVICES:
            before = state(name)["StartedAt"]
            subprocess.run(["docker", "exec", container(name), "python", "-c", KILL], check=False, capture_output=True)

            def back(name: str = name, before: str = before) -> bool:
                return state(name)["StartedAt"] != before and healthy(name)

            print(f"{name} was killed and is healthy again after {wait(f'{name} is back', back, 120):.1f} s")
        wait("the gateway answers", lambda: is_up(client), 60)
        ask(client, workspace, question)
    print("All as it should be.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("question")
    parser.add_argument("--env", type=Path, default=Path(".env"))
    arguments = parser.parse_args()
    main(arguments.file, arguments.question, arguments.env)

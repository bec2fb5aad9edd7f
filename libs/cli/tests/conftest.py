"""A server that speaks the public API's shapes, so that rare moments can be had at will: a token that ends, a stream that breaks.

The command against the real gateway is proven in `tests/e2e`.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from docutalk_cli.main import app as command
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from .account_calls import AT, Accounts, listing, problem

EMAIL, PASSWORD, WORKSPACE = "admin@example.com", "correct horse", "01890000-0000-7000-8000-000000000001"
Json = dict[str, Any]


def a_document(name: str = "report.pdf", **changes: Any) -> Json:
    """A document as the API shows it."""
    number = changes.pop("number", 1)
    document = {
        "id": f"01890000-0000-7000-8000-{number:012x}",
        "filename": name,
        "content_type": "application/pdf",
        "size": 1_234_567,
        "sha256": "0" * 64,
        "status": "ready",
        "code": None,
        "reason": None,
        "page_count": 9,
        "chunk_count": 27,
        "topics": [],
        "version": 1,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
    } | changes
    done, total = document["chunk_count"], document["chunk_count"]
    document.setdefault(
        "progress", {"pages_done": 9, "pages_total": 9, "chunks_done": done, "chunks_total": total, "percent": 100}
    )
    return document


def a_run(**changes: Any) -> Json:
    """A run of a source as the API shows it."""
    counts = {"found": 5, "new": 2, "changed": 1, "unchanged": 2, "failed": 0}
    times = {"queued_at": "2026-01-02T03:04:05Z", "started_at": "2026-01-02T03:04:06Z", "finished_at": "2026-01-02T03:04:10Z"}
    return {"id": WORKSPACE, "trigger": "manual", "status": "done", "reason": None, **counts, **times} | changes


def a_source(**changes: Any) -> Json:
    """A source as the API shows it."""
    source = {"id": WORKSPACE, "kind": "feed", "name": "News", "config": {}, "schedule": None, "paused": False}
    return source | {"next_run_at": None, "last_run": a_run(), "document_count": 1234} | changes


def a_change(**changes: Any) -> Json:
    """A change of the model as the API shows it."""
    change = {"id": WORKSPACE, "from_model": "minilm", "to_model": "better", "state": "running", "reason": None}
    change |= {"passages_done": 1234, "passages_total": 10_000, "passages_per_second": 210.4, "eta_seconds": 41.7}
    return change | {"started_at": "2026-01-02T03:04:05Z", "ended_at": None} | changes


def an_api_key(**changes: Any) -> Json:
    """A key as the API shows it."""
    key = {"id": WORKSPACE, "name": "ci", "hint": "dtk_abcd", "created_at": "2026-01-02T03:04:05Z", "expires_at": None}
    return key | {"last_used_at": None, "scopes": ["documents:read", "search"]} | changes


def _version(number: int, filename: str) -> Json:
    return {"version": number, "filename": filename, "page_count": 3, "size": 1000, "created_at": "2026-01-02T03:04:05Z"}


@dataclass
class Server:
    """What the server holds, how it behaves, and what it was asked."""

    url: str = ""
    documents: dict[str, Json] = field(default_factory=dict)
    uploads: list[bytes] = field(default_factory=list)
    becomes: dict[str, Json] = field(default_factory=dict)
    """What a document turns into when it is looked at for the third time, by filename."""
    looks: dict[str, int] = field(default_factory=dict)
    events: list[tuple[int, str, Json]] = field(default_factory=list)
    has_stream: bool = True
    upload_troubles: list[int] = field(default_factory=list)
    """What becomes of the next uploads: a status, or 0 for a connection that breaks after the file was taken."""
    upload_keys: list[str | None] = field(default_factory=list)
    """The `Idempotency-Key` of each upload."""
    sources: list[Json] = field(default_factory=list)
    busy_looks: int = 0
    """How many more times the server is too busy to show a document."""
    refused: list[Json] = field(default_factory=list)
    """What the next bulk action leaves as it is."""
    streams_break: int = 0
    """How many more event streams break off after one event."""
    stream_requests: list[str | None] = field(default_factory=list)
    """The `Last-Event-ID` of each."""
    search: Json = field(default_factory=lambda: {"results": [], "took_ms": 1.5, "model": "minilm", "next": None})
    more: list[Json] = field(default_factory=list)
    """The pages after the first."""
    similar: Json = field(default_factory=lambda: {"items": [], "took_ms": 1.5})
    places: list[Json] = field(default_factory=list)
    weight: float | None = None
    models: Json = field(default_factory=lambda: {"items": [], "offers": []})
    changes: list[Json] = field(default_factory=list)
    becomes_next: list[Json] = field(default_factory=list)
    """What the change turns into at each further look."""
    refused_steps: list[str] = field(default_factory=list)
    """Why the next steps of a change cannot be done."""
    comparison: Json = field(default_factory=dict)
    answer: list[tuple[int, str, Json]] = field(default_factory=list)
    after_stop: list[tuple[int, str, Json]] | None = None
    """With it an answer goes on after its events until it is stopped, and then brings these."""
    sessions: list[Json] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    """Of each session."""
    keys: list[Json] = field(default_factory=list)
    chat_settings: Json = field(default_factory=lambda: {"model": None, "temperature": None, "passages": None})
    chat_models: Json = field(
        default_factory=lambda: {"provider": "openai", "default": "small", "items": ["small", "large"], "complete": True}
    )
    letters: list[Json] = field(default_factory=list)
    problem: tuple[int, Json, dict[str, str]] | None = None
    """What the next call below a workspace is answered with."""
    requests: list[tuple[str, str, Json]] = field(default_factory=list)
    logins: int = 0
    refreshes: int = 0
    generation: int = 0
    valid: set[str] = field(default_factory=set)
    expires_in: int = 900
    accounts: Accounts = field(init=False)

    def __post_init__(self) -> None:
        me = {"id": WORKSPACE, "email": EMAIL, "display_name": "Ada", "is_admin": True, "default_workspace_id": WORKSPACE}
        self.accounts = Accounts(lambda: self.url, self.tokens, me=me | {"created_at": AT})

    def tokens(self) -> Json:
        """A new pair; the refresh token before it is used up."""
        self.generation += 1
        pair = {"access_token": f"access-{self.generation}", "refresh_token": f"refresh-{self.generation}"}
        self.valid |= set(pair.values())
        return pair | {"token_type": "bearer", "expires_in": self.expires_in}


async def _breaks_off() -> AsyncIterator[str]:
    yield '{"documents"'
    raise ConnectionResetError("on purpose")


def make_app(server: Server) -> Starlette:
    """The API's calls that the command uses."""

    async def login(request: Request) -> Response:
        body = await request.json()
        if (body["email"], body["password"]) != (EMAIL, PASSWORD):
            return problem(401, "The e-mail address or the password is wrong.")
        server.logins += 1
        return JSONResponse(server.tokens())

    async def refresh(request: Request) -> Response:
        token = (await request.json())["refresh_token"]
        if token not in server.valid:
            return problem(401, "The refresh token is not valid. Sign in again.")
        server.valid.discard(token)
        server.refreshes += 1
        return JSONResponse(server.tokens())

    async def logout(request: Request) -> Response:
        server.valid.discard((await request.json())["refresh_token"])
        return Response(status_code=204)

    async def livez(request: Request) -> Response:
        return Response("ok\n")

    async def api(request: Request) -> Response:
        path = request.path_params["path"]
        body = await request.json() if request.headers.get("content-type") == "application/json" else {}
        if (answered := server.accounts.public(request, path.split("/"), body)) is not None:
            server.requests.append((request.method, path, body))
            return answered
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in server.valid:
            return problem(401, "This needs an access token. Sign in first.")
        server.requests.append((request.method, path, body))
        if server.problem is not None and path.startswith(("workspaces/", "admin/")):
            status, content, headers = server.problem
            server.problem = None
            return JSONResponse(content, status, headers=headers, media_type="application/problem+json")
        return await answer(request, path, body)

    async def answer(request: Request, path: str, given: Json) -> Response:
        parts = path.split("/")
        if (answered := await server.accounts.answer(request, parts, given)) is not None:
            return answered
        match parts:
            case ["admin", "dead-letters"]:
                return listing(server.letters)
            case ["admin", "dead-letters", number]:
                return JSONResponse(next(letter for letter in server.letters if letter["sequence"] == int(number)))
            case ["workspaces", _, "documents"] if request.method == "POST":
                return await upload(request)
            case ["workspaces", _, "documents"]:
                return listing(list(server.documents.values()))
            case ["workspaces", _, "progress", "stream"]:
                return stream(request, [(1, "progress", {"documents": {}, "eta_seconds": 130})], for_ever=True)
            case ["workspaces", _, "documents", "bulk"]:
                return await bulk(request)
            case ["workspaces", _, "documents", document, "versions"] if request.method == "POST":
                await upload(request)
                server.documents[document] |= {"version": 2, "status": "queued"}
                return JSONResponse(server.documents[document] | {"unchanged": False}, 202)
            case ["workspaces", _, "documents", _, "versions"]:
                items = [_version(2, "b.txt"), _version(1, "a.txt")]
                return JSONResponse({"items": items, "served_version": 1})
            case ["workspaces", _, "documents", document, "retry"]:
                return JSONResponse(server.documents[document] | {"status": "queued"}, 202)
            case ["workspaces", _, "documents", document] if request.method == "PATCH":
                server.documents[document] |= await request.json()
                return one_document(document)
            case ["workspaces", _, "documents", document]:
                return one_document(document)
            case ["workspaces", _, "sources"] if request.method == "POST":
                server.sources.append(a_source(**await request.json()))
                return JSONResponse(server.sources[-1], 201)
            case ["workspaces", _, "sources"]:
                return listing(server.sources)
            case ["workspaces", _, "sources", _, "runs"]:
                return listing([a_run(), a_run(status="failed", reason="The feed is gone.", trigger="schedule")])
            case ["workspaces", _, "sources", _, "pause" | "resume" | "run"]:
                return JSONResponse(server.sources[0])
            case ["workspaces", _, "sources", _] if request.method == "DELETE":
                server.sources.clear()
                return Response(status_code=204)
            case ["workspaces", _, "documents", document, "events"]:
                return listing([event for _, _, event in server.events])
            case ["workspaces", _, "events", "stream"] | ["workspaces", _, "documents", _, "events", "stream"]:
                return stream(request, server.events, for_ever=True)
            case ["workspaces", _, "chat"] | ["workspaces", _, "chat", "answers", _, "stream"]:
                return stream(request, server.answer, after_stop=server.after_stop)
            case ["workspaces", _, "chat", "sessions", _, "messages", _, "regenerate"]:
                return stream(request, server.answer)
            case ["workspaces", _, "chat", "sessions", _, "messages", _, "stop"]:
                return Response(status_code=202)
            case ["workspaces", _, "chat", *rest]:
                return await chat(request, rest)
            case ["users", "me", "api-keys", *rest]:
                return await api_keys(request, rest)
            case ["workspaces", _, "search"]:
                after = (await request.json()).get("after")
                return JSONResponse(server.search if after is None else server.more[int(after)])
            case ["workspaces", _, "search", "settings"]:
                if request.method == "PATCH":
                    server.weight = (await request.json())["semantic_weight"]
                return JSONResponse({"semantic_weight": server.weight or 0.75, "is_default": server.weight is None})
            case ["workspaces", _, "search", "compare"]:
                return JSONResponse(server.comparison)
            case ["workspaces", _, "documents", _, "similar"]:
                return JSONResponse(server.similar)
            case ["workspaces", _, "places"] | ["workspaces", _, "documents", _, "places"]:
                server.requests.append(("GET", path, dict(request.query_params)))
                return listing(server.places)
            case ["admin", "models"] if request.method == "POST":
                return JSONResponse(await request.json() | {"provider": "openai", "dimension": 8}, 201)
            case ["admin", "models"]:
                return JSONResponse(server.models)
            case ["admin", "models", *_]:
                return Response(status_code=204)
            case ["admin", "model-changes"] if request.method == "POST":
                server.changes.insert(0, a_change(**await request.json()))
                return JSONResponse(server.changes[0], 201)
            case ["admin", "model-changes"]:
                if server.changes and server.becomes_next:
                    server.changes[0] |= server.becomes_next.pop(0)
                return JSONResponse({"items": server.changes})
            case ["admin", "model-changes", _, _] if server.refused_steps:
                return problem(409, server.refused_steps.pop(0))
            case ["admin", "model-changes", _, step]:
                states = {"pause": "paused", "resume": "running", "switch": "switched", "roll-back": "complete"}
                server.changes[0] |= {"state": states.get(step, "finished"), "ended_at": None}
                return JSONResponse(server.changes[0])
        return problem(404, "There is nothing at this address.")

    async def upload(request: Request) -> Response:
        async with request.form() as form:
            file: Any = form["file"]
            content = await file.read()
        server.upload_keys.append(key := request.headers.get("idempotency-key"))
        trouble = server.upload_troubles.pop(0) if server.upload_troubles else None
        if trouble:
            return problem(trouble, "Try again in a moment.", headers={"Retry-After": "0"})
        if server.upload_keys.count(key) > 1 and content in server.uploads:
            return JSONResponse({"documents": [list(server.documents.values())[-1]]}, 202)
        again = content in server.uploads
        server.uploads.append(content)
        same = [d for d in server.documents.values() if d["filename"] == file.filename]
        document = same[0] if again else a_document(file.filename, number=len(server.documents) + 1, status="queued")
        server.documents[document["id"]] = document
        if trouble == 0:
            return StreamingResponse(_breaks_off(), 202)
        shown = {key: document[key] for key in ("id", "filename", "status")}
        return JSONResponse({"documents": [shown | ({"duplicate_of": document["id"]} if again else {})]}, 202)

    async def bulk(request: Request) -> Response:
        body = await request.json()
        ids = body.get("document_ids") or [d["id"] for d in server.documents.values() if d["status"] == body.get("status")]
        refused, server.refused = server.refused, []
        left = [key for key in ids if key not in {item["document_id"] for item in refused}]
        # Two at a time, so that the command has to ask again.
        now, later = (left[:2], left[2:]) if "status" in body else (left, [])
        for key in now:
            server.documents[key]["status"] = {"cancel": "cancelled", "retry": "queued", "delete": "deleted"}[body["action"]]
        return JSONResponse({"document_ids": now, "refused": refused, "remaining": len(later)})

    def one_document(key: str) -> Response:
        if key not in server.documents:
            return problem(404, "There is no such document.")
        if server.busy_looks:
            server.busy_looks -= 1
            return problem(503, "the ingest service did not answer within 2 s")
        document = server.documents[key]
        server.looks[key] = server.looks.get(key, 0) + 1
        if server.looks[key] == 2:
            document |= {"status": "embedding"}
        elif server.looks[key] > 2 and document["status"] == "embedding":
            document.update({"status": "ready"} | server.becomes.get(document["filename"], {}))
        return JSONResponse(document)

    async def chat(request: Request, parts: list[str]) -> Response:
        match parts:
            case ["settings"]:
                server.chat_settings |= await request.json() if request.method == "PATCH" else {}
                return JSONResponse(server.chat_settings)
            case ["models"]:
                return JSONResponse(server.chat_models)
            case ["sessions"]:
                words = request.query_params.get("q", "")
                return listing([item for item in server.sessions if words in item["title"]])
            case ["sessions", key, *rest]:
                session = next((item for item in server.sessions if item["id"] == key), None)
                if session is None:
                    return problem(404, "There is no such chat session.")
                return await one_session(request, session, rest)
        return problem(404, "There is nothing at this address.")

    async def one_session(request: Request, session: Json, parts: list[str]) -> Response:
        if parts == ["messages"]:
            return listing(server.messages)
        if parts == ["export"] and request.query_params["format"] == "markdown":
            return Response(f"# {session['title']}\n", media_type="text/markdown")
        if parts == ["export"]:
            return JSONResponse({"session": session, "messages": server.messages})
        if request.method == "DELETE":
            server.sessions.remove(session)
            return Response(status_code=204)
        session |= await request.json() if request.method == "PATCH" else {}
        return JSONResponse(session)

    async def api_keys(request: Request, parts: list[str]) -> Response:
        if request.method == "DELETE":
            server.keys = [key for key in server.keys if [key["id"]] != parts]
            return Response(status_code=204)
        if request.method == "POST":
            server.keys.append(an_api_key(**await request.json()))
            return JSONResponse(server.keys[-1] | {"key": "dtk_secret"}, 201)
        return listing(server.keys)

    def stream(
        request: Request,
        events: list[tuple[int, str, Json]],
        *,
        for_ever: bool = False,
        after_stop: list[tuple[int, str, Json]] | None = None,
    ) -> Response:
        last = request.headers.get("last-event-id")
        server.stream_requests.append(last)
        if for_ever and not server.has_stream:
            return problem(503, "nats is not available; try again in a moment.")

        async def body() -> AsyncIterator[str]:
            yield "retry: 2000\n\n"
            for number, name, data in events:
                if last is None or number > int(last):
                    yield f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
                    if server.streams_break:
                        server.streams_break -= 1
                        raise ConnectionResetError("on purpose")
            if after_stop is not None:
                while not any(path.endswith("/stop") for _, path, _ in server.requests):
                    await asyncio.sleep(0.02)
                for number, name, data in after_stop:
                    yield f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
            while for_ever:
                for key, document in list(server.documents.items()):
                    name = "progress.changed"
                    # Of many documents the command waits for the end instead of looking at each on its way.
                    if len(server.documents) > 8 and key in server.looks:
                        document.update({"status": "ready"} | server.becomes.get(document["filename"], {}))
                        name = f"document.{document['status']}"
                    yield f"event: {name}\ndata: {json.dumps({'document_id': key})}\n\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(body(), media_type="text/event-stream")

    routes = [
        Route("/livez", livez),
        Route("/api/v1/auth/login", login, methods=["POST"]),
        Route("/api/v1/auth/refresh", refresh, methods=["POST"]),
        Route("/api/v1/auth/logout", logout, methods=["POST"]),
        Route("/api/v1/{path:path}", api, methods=["GET", "POST", "PATCH", "DELETE"]),
    ]
    return Starlette(routes=routes)


@pytest.fixture
def server() -> Iterator[Server]:
    """The server, listening on a port of its own."""
    state = Server()
    listening = socket.create_server(("127.0.0.1", 0))
    state.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(make_app(state), log_level="critical", timeout_graceful_shutdown=0, lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while httpx.get(f"{state.url}/livez").status_code != 200:
        assert time.monotonic() < deadline
    yield state
    running.should_exit = True
    thread.join(10)
    listening.close()


@dataclass
class Shell:
    """Runs the command in a folder of its own, as a person in front of it would."""

    environment: dict[str, str]
    folder: Path

    def __call__(self, *arguments: str, input: str | None = None) -> Result:
        """The command's exit code and output."""
        result = CliRunner().invoke(command, list(arguments), input=input, env=self.environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def shell(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in a folder where `docutalk up` runs: its state folder holds the address and the administrator's sign-in."""
    for name in ("DOCUTALK_URL", "DOCUTALK_TOKEN", "DOCUTALK_EMAIL", "DOCUTALK_PASSWORD", "DOCUTALK_HOME", "DOCUTALK_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "folder" / ".docutalk"
    home.mkdir(parents=True)
    (home / "cli.json").write_text(json.dumps({"url": server.url, "email": EMAIL, "password": PASSWORD}))
    monkeypatch.chdir(home.parent)
    return Shell({"XDG_CONFIG_HOME": str(tmp_path / "config"), "COLUMNS": "100"}, home.parent)


class Terminal:
    """The command on a terminal of 40 columns."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._end, child = pty.openpty()
        environment = os.environ | shell.environment | {"COLUMNS": "40", "LINES": "20", "TERM": "xterm"}
        command = [sys.executable, "-m", "docutalk_cli", *arguments]
        self._process = subprocess.Popen(
            command,
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment,
            start_new_session=True,
            # Tests that were started in the background by a shell ignore Ctrl-C, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it only becomes the command
        )
        os.close(child)
        self.screen = ""
        # A terminal hands out so many bytes, whatever character they end in.
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read_until(self, text: str) -> None:
        """Waits for a text to appear."""
        self.wait_for(lambda: text in self.screen)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Reads until something is so."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.screen[-2000:]
            self._read()

    def wait_until_it_reads(self) -> None:
        """Waits until it sleeps in the call that reads what is typed: a signal a moment before would not wake it."""
        stat = Path(f"/proc/{self._process.pid}/stat")
        self.wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self._process.send_signal(signal.SIGINT)

    def code(self) -> int:
        """The exit code, once everything was read."""
        deadline = time.monotonic() + 30
        while self._read():
            assert time.monotonic() < deadline, self.screen[-2000:]
        code = self._process.wait(30)
        os.close(self._end)
        return code

    def _read(self) -> bool:
        if not select.select([self._end], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._end, 65536)
        except OSError:  # how Linux says that the other end is closed
            return False
        self.screen += self._decoder.decode(data)
        return bool(data)


@pytest.fixture
def terminal(shell: Shell) -> Callable[..., Terminal]:
    """`terminal("ask", "How much?")` runs the command on a terminal."""
    return partial(Terminal, shell)

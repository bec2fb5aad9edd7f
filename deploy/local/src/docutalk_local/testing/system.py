"""A whole DocuTalk in one state folder, and a person who uses it through the public API. For tests and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from docutalk_common.process import wait_until
from docutalk_common.testing.embeddings_server import EmbeddingsServer

from docutalk_local.home import Home
from docutalk_local.ports import free_port
from docutalk_local.stack import LocalStack, Options

FINAL = {"ready", "failed", "cancelled"}


@dataclass
class Person:
    """Somebody signed in. Every call raises on a status that is not a success, with the problem's text."""

    http: httpx.AsyncClient
    workspace: str

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """One call below `/workspaces/{w}`, tried again while a service is away or has not heard of a document yet; the JSON of
        the answer."""
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = await self.http.request(method, f"/api/v1/workspaces/{self.workspace}{path}", **arguments)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                soon = answer.status_code == 503 or "document_being_accepted" in answer.text
                if not soon or time.monotonic() > deadline:
                    break
            await asyncio.sleep(0.2)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def upload(self, files: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
        """Uploads files in one request; the documents as accepted."""
        parts = [("file", (name, content, "application/octet-stream")) for name, content in files]
        answer = await self.call("POST", "/documents", files=parts)
        documents: list[dict[str, Any]] = answer["documents"]
        return documents

    async def document(self, document_id: str) -> dict[str, Any]:
        """One document."""
        found: dict[str, Any] = await self.call("GET", f"/documents/{document_id}")
        return found

    async def until_final(self, document_ids: Sequence[str], *, seconds: float) -> dict[str, dict[str, Any]]:
        """Waits until every document is ready or failed."""
        documents: dict[str, dict[str, Any]] = {}

        async def done() -> bool:
            for document_id in document_ids:
                if documents.get(document_id, {}).get("status") not in FINAL:
                    documents[document_id] = await self.document(document_id)
            return all(document["status"] in FINAL for document in documents.values())

        try:
            await wait_until(done, seconds=seconds, what="every document is ready or failed", every=0.1)
        except TimeoutError as error:
            states = {d["filename"]: (d["status"], d["progress"]) for d in documents.values()}
            raise AssertionError(f"{error}: {states}") from error
        return documents

    async def search(self, query: str, **body: Any) -> list[dict[str, Any]]:
        """The results, best first."""
        answer = await self.call("POST", "/search", json={"query": query, **body})
        results: list[dict[str, Any]] = answer["results"]
        return results

    async def ask(self, message: str, **body: Any) -> dict[str, Any]:
        """A whole answer."""
        answer: dict[str, Any] = await self.call("POST", "/chat", json={"message": message, **body}, timeout=60)
        return answer

    async def page_text(self, document_id: str, number: int) -> str:
        """A page's frozen text."""
        page = await self.call("GET", f"/documents/{document_id}/pages/{number}")
        text: str = page["text"]
        return text


@dataclass
class System:
    """The running stack and its administrator."""

    stack: LocalStack
    admin: Person
    people: list[Person] = field(default_factory=list)

    async def register(self, email: str, password: str = "a long enough password") -> Person:  # noqa: S107
        """A new person with a workspace of their own. The system must have been started with open registration."""
        async with httpx.AsyncClient(base_url=self.stack.url, timeout=30) as http:
            answer = await http.post("/api/v1/auth/register", json={"email": email, "password": password})
            assert answer.status_code == 201, answer.text
        person = await sign_in(self.stack.url, email, password)
        self.people.append(person)
        return person


async def sign_in(url: str, email: str, password: str) -> Person:
    """Signs in and finds the default workspace."""
    http = httpx.AsyncClient(base_url=url, timeout=30)
    answer = await http.post("/api/v1/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    me = (await http.get("/api/v1/users/me")).json()
    return Person(http, me["default_workspace_id"])


def endpoint_settings(server: EmbeddingsServer) -> dict[str, str]:
    """Settings with which embeddings may be had from this endpoint."""
    return {"DOCUTALK_EMBED_ENDPOINT_URL": server.base_url, "DOCUTALK_EMBED_ENDPOINT_API_KEY": server.api_key}


@contextlib.asynccontextmanager
async def running_system(
    folder: Path, environment: Mapping[str, str] | None = None, *, durable: bool = True
) -> AsyncIterator[System]:
    """Starts everything in `folder`, on free ports, as `docutalk up` does; stops it at the end. No language model answers unless
    the environment given here names one, whatever runs on this machine."""
    named = any(name.startswith(("DOCUTALK_LLM_", "OLLAMA_")) for name in environment or {})
    model = {} if named else {"DOCUTALK_LLM_PROVIDER": "none"}
    # Nobody signs in twice here, however long the tests take.
    lasting = {"DOCUTALK_ACCESS_TOKEN_SECONDS": "86400"}
    settings = {"USERS_OPEN_REGISTRATION": "true", **lasting, **model, **(environment or {})}
    with Home.at(folder).locked() as home:
        stack = LocalStack(home, Options(port=free_port(), durable=durable, environment=settings))
        system: System | None = None
        try:
            await stack.start()
            system = System(stack, await sign_in(stack.url, stack.options.admin_email, stack.admin_password))
            yield system
        finally:
            if system is not None:
                for person in [system.admin, *system.people]:
                    await person.http.aclose()
            await stack.stop()

"""Every operation of the API, from its OpenAPI document, with something to send: for tests that leave none out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from docutalk_gateway.openapi import document

ADMIN = "/api/v1/admin/"
WORKSPACE = "/api/v1/workspaces/{workspace_id}"
NOTHINGS_ID = "01890000-0000-7000-8000-000000000001"
QUESTION = "How many crates of silver pears did the moon orchard bring in?"

# Bodies with which the call of somebody who may would succeed: a refusal must come from who asks, not from what is asked.
BODIES: Mapping[str, dict[str, Any]] = {
    "accept_invitation": {},
    "add_account_invitation": {"json": {}},
    "add_api_key": {"json": {"name": "Mine"}},
    "add_invitation": {"json": {"role": "viewer"}},
    "add_model": {"json": {"name": "mine"}},
    "add_share": {"json": {"target": {"kind": "workspace"}, "permissions": ["view"]}},
    "add_source": {"json": {"kind": "text", "name": "Mine", "config": {"title": "Mine", "text": "mine"}}},
    "add_workspace": {"json": {"name": "Mine"}},
    "change_many": {"json": {"action": "delete", "document_ids": [NOTHINGS_ID]}},
    "change_password": {"json": {"current_password": "not this one", "new_password": "a long enough password"}},
    "compare_models": {"json": {"queries": [QUESTION]}},
    "create_chat_completion": {"json": {"model": "My documents", "messages": [{"role": "user", "content": QUESTION}]}},
    "create_embeddings": {"json": {"model": "My documents", "input": QUESTION}},
    "delete_me": {"json": {"password": "not this one"}},
    "exchange_openid": {"json": {"code": "unknown", "code_verifier": "x" * 43}},
    "give_feedback": {"json": {"rating": -1}},
    "import_workspace": {"content": b"no archive", "headers": {"Content-Type": "application/zip"}},
    "login": {"json": {"email": "reader@example.com", "password": "a long enough password"}},
    "logout": {"json": {"refresh_token": "unknown"}},
    "open_shared": {"json": {}},
    "patch_chat_settings": {"json": {"passages": 10}},
    "patch_document": {"json": {"filename": "renamed.pdf"}},
    "patch_me": {"json": {}},
    "patch_member": {"json": {"role": "viewer"}},
    "patch_quota": {"json": {}},
    "patch_search_settings": {"json": {"semantic_weight": 0.5}},
    "patch_session": {"json": {"title": "Renamed"}},
    "patch_share": {"json": {"name": "Renamed"}},
    "patch_source": {"json": {"name": "Renamed"}},
    "patch_user": {"json": {}},
    "patch_workspace": {"json": {"name": "Renamed"}},
    "post_chat": {"json": {"message": QUESTION}},
    "refresh": {"json": {"refresh_token": "unknown"}},
    "register": {"json": {"email": "reader@example.com", "password": "a long enough password"}},
    "reset_password": {"json": {"token": "unknown", "new_password": "a long enough password"}},
    "retry": {"json": {"password": "guessed"}},
    "rotate_signing_key": {"json": {}},
    "search": {"json": {"query": QUESTION}},
    "start_model_change": {"json": {"to_model": "mine"}},
    "token": {"data": {"username": "reader@example.com", "password": "a long enough password"}},
    "transfer_ownership": {"json": {"user_id": NOTHINGS_ID}},
    "upload_documents": {"files": [("file", ("mine.txt", b"mine", "text/plain"))]},
    "upload_version": {"files": [("file", ("mine.txt", b"a better one", "text/plain"))]},
}
# What has no body, or needs more than one to succeed.
_PARAMETERS: Mapping[str, dict[str, Any]] = {"get_boxes": {"params": {"start": 0, "end": 5}}}

NAMES: Mapping[str, str] = {
    "sequence": "1",
    "name": "mine",
    "step": "cancel",
    "model": "My documents",
    "number": "1",
    "token": "unknown",
}
"""What stands in a path and is no id."""


@dataclass(frozen=True)
class Call:
    """One operation of the API."""

    method: str
    path: str
    name: str
    has_body: bool

    @property
    def parameters(self) -> list[str]:
        """The names in the path, in order."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def arguments(self) -> dict[str, Any]:
        """What to send along."""
        assert not self.has_body or self.name in BODIES, f"give {self.name} a body in BODIES"
        return {**BODIES.get(self.name, {}), **_PARAMETERS.get(self.name, {})}

    def place(self, ids: Mapping[str, str]) -> str:
        """The path with these ids in it, and those of nothing where there is none."""
        return self.path.format(**{name: ids.get(name, NAMES.get(name, NOTHINGS_ID)) for name in self.parameters})


@dataclass(frozen=True)
class Answer:
    """How a call ended; of an event stream nothing is read."""

    status: int
    text: str

    @property
    def code(self) -> str | None:
        """The code of a problem, also of one in OpenAI's shape."""
        try:
            body = json.loads(self.text)
            kind = body["error"]["code"] if "error" in body else str(body["type"]).rpartition(":")[2]
        except (ValueError, KeyError, TypeError):
            return None
        return str(kind)


async def send(http: httpx.AsyncClient, call: Call, ids: Mapping[str, str], **arguments: Any) -> Answer:
    """Makes the call; again, a few times, where one service did not hear from another one in its two seconds."""
    for _ in range(5):
        async with http.stream(call.method, call.place(ids), **{**call.arguments(), **arguments}) as response:
            streamed = response.headers.get("content-type", "").startswith("text/event-stream")
            answer = Answer(response.status_code, "" if streamed else (await response.aread()).decode(errors="replace"))
        if answer.status != 503 or answer.code not in {"timeout", "unavailable", "dependency_unavailable"}:
            break
        await asyncio.sleep(0.5)
    return answer


def every_call() -> list[Call]:
    """Every operation of the document."""
    return [
        Call(method.upper(), path, operation["operationId"], "requestBody" in operation)
        for path, operations in json.loads(document())["paths"].items()
        for method, operation in operations.items()
    ]

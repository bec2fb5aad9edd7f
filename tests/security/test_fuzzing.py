"""Requests that nobody would think of: made by schemathesis from the OpenAPI document, for every operation, against everything
running. Whatever is asked, the answer is one that the document tells of, and never a fault of the server.

Each operation is called once as it should be, then with data that fits its description, then with data that does not; mostly
about things that exist. Nothing is left out:

- What ends, deletes or changes something that the others need is done to a workspace, or by a person, made for it (`SPENDS_…`).
- Of an event stream the first bytes are read.
- Signing keys are rotated last: it signs everybody out.
- What cannot succeed here even when it is called as it should be is named in `CANNOT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from docutalk_common.testing.pdf import make_pdf
from docutalk_gateway.api.permissions import RULES, Who
from docutalk_gateway.openapi import document
from docutalk_local.testing.api_calls import NAMES, NOTHINGS_ID, Call, every_call
from docutalk_local.testing.system import Person, System, running_system
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 5
"""Of each of the two kinds of data."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

SPENDS_A_WORKSPACE = {
    *("delete_workspace", "archive_workspace", "transfer_ownership", "patch_member", "remove_member", "patch_quota"),
    *("remove_document", "change_many", "cancel", "upload_version", "delete_source", "delete_session"),
    *("remove_share", "patch_share", "remove_invitation", "accept_invitation", "remove_api_key"),
}
SPENDS_A_PERSON = {
    *("delete_me", "change_password", "end_sign_in", "end_other_sign_ins", "logout", "patch_me", "refresh"),
    "reset_password",
    *("delete_user", "patch_user", "make_password_reset"),
}
LAST = "rotate_signing_key"
# There is no OpenID provider, no endpoint with a second model, no dead letter, and the document has been read.
CANNOT = {
    *("start_openid", "finish_openid", "exchange_openid", "add_model", "delete_model", "start_model_change", "step_model_change"),
    *("compare_models", "dead_letter", "retry", "cancel"),
}
PASSWORD = "a long enough password"
# Limits that are for guessers: everybody here comes from one address.
UNLIMITED = {
    "DOCUTALK_LOGIN_FAILURES_PER_ADDRESS": "1000000",
    "DOCUTALK_ANONYMOUS_REQUESTS_PER_MINUTE": "1000000",
}


@schemathesis.serializer("application/zip")
def _as_it_is(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def explicit() -> dict[str, Any]:
    """The document, without the answers that it leaves open."""
    made: dict[str, Any] = json.loads(document())
    for operations in made["paths"].values():
        for operation in operations.values():
            del operation["responses"]["default"]
    return made


SCHEMA = schemathesis.openapi.from_dict(explicit(), config=schemathesis.Config())
CALLS = sorted(every_call(), key=lambda call: call.name == LAST)


@dataclass(frozen=True)
class Things:
    """Somebody, the ids of what is theirs, and what they would send."""

    person: Person
    ids: Mapping[str, str]
    bodies: Mapping[str, dict[str, Any]]


@dataclass
class World:
    """Everything that calls are about."""

    system: System
    owner: Things
    guest: Person

    async def for_call(self, call: Call) -> Things:
        """What this call may be about."""
        if call.name in SPENDS_A_PERSON:
            return await self.somebody(call.name)
        if call.name in SPENDS_A_WORKSPACE:
            made = await self.owner.person.http.post("/api/v1/workspaces", json={"name": call.name})
            return await self.things(replace(self.owner.person, workspace=made.json()["id"]))
        return self.owner

    async def somebody(self, name: str) -> Things:
        """A new person, with things."""
        email = f"{name}@example.com"
        made = await self.things(await self.system.register(email), alone=name in {"delete_me", "delete_user"})
        credentials = {"email": email, "password": PASSWORD}
        signed_in = (await made.person.http.post("/api/v1/auth/login", json=credentials)).json()
        reset = (await self.system.admin.http.post(f"/api/v1/admin/users/{made.ids['me']}/password-reset")).json()
        about_accounts = {
            "login": credentials,
            "refresh": {"refresh_token": signed_in["refresh_token"]},
            "logout": {"refresh_token": signed_in["refresh_token"]},
            "delete_me": {"password": PASSWORD},
            "change_password": {"current_password": PASSWORD, "new_password": "another long password"},
            "reset_password": {"token": reset["token"], "new_password": PASSWORD},
        }
        return replace(made, bodies={**made.bodies, **about_accounts})

    async def things(self, person: Person, *, alone: bool = False) -> Things:
        """Puts something of everything into a person's workspace; `alone`: but no other member."""
        [accepted] = await person.upload(
            [("orchard.pdf", make_pdf(["The moon orchard brought in 4711 crates of silver pears."]))]
        )
        note = {"kind": "text", "name": "Notes", "config": {"title": "Notes", "text": "Notes on the orchard."}}
        source = await person.call("POST", "/sources", json=note)
        answer = await person.ask("How many crates?")
        share = await person.call("POST", "/shares", json={"target": {"kind": "workspace"}, "permissions": ["view"]})
        if not alone:
            invitation = await person.call("POST", "/invitations", json={"role": "viewer"})
            accepted_by = await self.guest.http.post(f"/api/v1/invited/{invitation['token']}/accept")
            assert accepted_by.status_code == 200, accepted_by.text
        open_invitation = await person.call("POST", "/invitations", json={"role": "viewer"})
        key = await person.http.post("/api/v1/users/me/api-keys", json={"name": "a program"})
        sign_ins = (await person.http.get("/api/v1/users/me/sessions")).json()["items"]
        me = (await person.http.get("/api/v1/users/me")).json()
        guest = (await self.guest.http.get("/api/v1/users/me")).json()
        imported = await person.http.post("/api/v1/imports", content=b"-", headers={"Content-Type": "application/zip"})
        gone = (await person.http.post("/api/v1/workspaces", json={"name": "Gone"})).json()["id"]
        erased = (await person.http.delete(f"/api/v1/workspaces/{gone}")).json()
        account = (await self.system.admin.http.post("/api/v1/admin/invitations", json={})).json()
        ids = {
            "workspace_id": person.workspace,
            "document_id": accepted["id"],
            "source_id": source["id"],
            "session_id": answer["session_id"],
            "answer_id": answer["message_id"],
            "message_id": answer["message_id"],
            "share_id": share["id"],
            "invitation_id": open_invitation["id"],
            "key_id": key.json()["id"],
            "sign_in_id": sign_ins[0]["id"],
            "model": person.workspace,
            "user_id": guest["id"],
            "me": me["id"],
            "shared": share["token"],
            "invited": open_invitation["token"],
            "account_invitation": account["id"],
            "import_id": imported.json()["id"],
            "erasure_id": erased["id"],
        }
        bodies = {
            "transfer_ownership": {"user_id": guest["id"]},
            "create_chat_completion": {"model": person.workspace, "messages": [{"role": "user", "content": "How many crates?"}]},
            "create_embeddings": {"model": person.workspace, "input": "silver pears"},
        }
        return Things(person, ids, bodies)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A DocuTalk of its own: what is done to it, the other tests would feel."""
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(running_system(tmp_path_factory.mktemp("fuzzed"), UNLIMITED, durable=False))
        guest = await system.register("guest@example.com")
        made = World(system, Things(guest, {}, {}), guest)
        made.owner = await made.somebody("owner")
        await made.owner.person.until_final([made.owner.ids["document_id"]], seconds=60)
        yield made


def test_every_name_in_a_path_is_known() -> None:
    known = {*NAMES, "workspace_id", "document_id", "source_id", "session_id", "answer_id", "message_id", "share_id"}
    known |= {"invitation_id", "key_id", "sign_in_id", "user_id", "erasure_id", "import_id", "change_id"}
    assert {name for call in CALLS for name in call.parameters} <= known


def test_every_operation_that_spends_something_is_one() -> None:
    assert SPENDS_A_WORKSPACE | SPENDS_A_PERSON | CANNOT | {LAST} <= {call.name for call in CALLS}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_answer_to_whatever_is_asked_is_documented(world: World, call: Call) -> None:
    things = await world.for_call(call)
    # In a thread: what runs the system has to go on.
    await asyncio.to_thread(_Fuzz(world, call, things).run)


class _Fuzz:
    """The calls of one operation."""

    def __init__(self, world: World, call: Call, things: Things) -> None:
        self.url = world.system.stack.url
        self.call = call
        self.operation = SCHEMA[call.path][call.method]
        self.headers = _authorization(world, call, things)
        self.body = things.bodies.get(call.name)
        self.path = {name: _value(call, things, name) for name in call.parameters}
        self.session = requests.Session()

    def run(self) -> None:
        """All of them. Raises on the first answer that is not as documented."""
        with self.session:
            self.as_it_should_be()
            for mode in GenerationMode:
                if mode is GenerationMode.POSITIVE or self.call.has_body or self.operation.definition.raw.get("parameters"):
                    self.generated(mode)

    def as_it_should_be(self) -> None:
        """The call that would succeed, were there everything it speaks of."""
        case = self.operation.Case(method=self.call.method, path_parameters=self.path)
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=60) as http:
            arguments = self.call.arguments() if self.body is None else {"json": self.body}
            request = http.build_request(self.call.method, self.call.path.format(**self.path), **arguments)
            request.read()
            response = http.send(request, stream=True)
            try:
                self.check(case, response, read=response.read, first=lambda: next(response.iter_raw()))
                assert response.is_success or self.call.name in CANNOT, response.text
            finally:
                response.close()

    def generated(self, mode: GenerationMode) -> None:
        """Those that schemathesis makes."""

        @SETTINGS
        @given(case=self.operation.as_strategy(generation_mode=mode), about=st.integers(0, 3))
        def attempt(case: schemathesis.Case, about: int) -> None:
            if about:
                case.path_parameters = {**(case.path_parameters or {}), **self.path}
            arguments = case.as_transport_kwargs(base_url=self.url, headers=self.headers)
            with self.session.request(**arguments, stream=True, timeout=60, allow_redirects=False) as response:
                self.check(case, response, read=lambda: response.content, first=lambda: next(response.iter_content(16)))

        # A path without any restriction has nothing that does not fit it.
        with contextlib.suppress(Unsatisfiable):
            attempt()

    def check(self, case: schemathesis.Case, response: Any, *, read: Callable[[], bytes], first: Callable[[], bytes]) -> None:
        """Compares an answer with the document."""
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            documented = case.operation.definition.raw["responses"]["200"]["content"]
            assert (response.status_code, "text/event-stream" in documented) == (200, True)
            assert first()
            return
        read()
        case.validate_response(response, checks=CHECKS)


def _authorization(world: World, call: Call, things: Things) -> dict[str, str]:
    who = RULES[call.name].who
    if who is Who.ANYBODY:
        return {}
    person = world.system.admin if who is Who.ADMINISTRATOR else things.person
    if call.name == "accept_invitation":
        person = world.guest
    return {"Authorization": person.http.headers["Authorization"]}


def _value(call: Call, things: Things, name: str) -> str:
    if name == "token":
        return things.ids["shared" if "shared" in call.path else "invited"]
    if name == "user_id" and call.name in SPENDS_A_PERSON:
        return things.ids["me"]
    if call.name == "remove_account_invitation":
        return things.ids["account_invitation"]
    return things.ids.get(name, NAMES.get(name, NOTHINGS_ID))

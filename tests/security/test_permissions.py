"""Who may do what: every operation of the API, called by everybody, against the table that decides it.

Everybody is: nobody, a stranger, an administrator, viewer, editor and owner of a workspace, a key of the owner with each scope,
and a visitor by a link to each target and with each permission. An operation that the table lets somebody do has to be reached;
one that it does not has to be refused as the table says, before anything of it is looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import httpx
import pytest
from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_gateway.api.permissions import RULES, Rule, Who, check, rank, targets_of
from docutalk_gateway.domain import Role, Scope, SharePermission, ShareTarget
from docutalk_local.testing.api_calls import ADMIN, NOTHINGS_ID, QUESTION, WORKSPACE, Answer, Call, every_call, send
from docutalk_local.testing.system import Person, System
from fastapi import APIRouter, FastAPI

CALLS = every_call()
TEXT = "The harvest of the moon orchard brought in 4711 crates of silver pears."


# What the table cannot say: every member reaches `remove_member`, which lets them remove themselves and nobody else.
ONESELF = "You may leave it yourself."


class Outcome(Enum):
    """How a call ends, as far as it depends on who makes it."""

    REACHED = "reached"
    SIGN_IN = "has to sign in"
    REFUSED = "may not"
    HIDDEN = "sees no such workspace"


def outcome(answer: Answer) -> Outcome:
    """What a call came to."""
    assert answer.status < 500 or answer.code in {"search_unavailable", "model_unavailable"}, answer
    if answer.code in {"not_signed_in", "invalid_api_key"}:
        return Outcome.SIGN_IN
    if answer.code == "not_allowed" and ONESELF not in answer.text:
        return Outcome.REFUSED
    if answer.code == "not_found" and "There is no such workspace." in answer.text:
        return Outcome.HIDDEN
    return Outcome.REACHED


@dataclass(frozen=True)
class Somebody:
    """Somebody who calls, and what the table says that they may."""

    name: str
    http: httpx.AsyncClient
    ids: Mapping[str, str]
    role: Role | None = None
    signed_in: bool = True
    is_administrator: bool = False
    scope: Scope | None = None
    permissions: frozenset[SharePermission] = field(default_factory=frozenset)
    target: ShareTarget | None = None

    def expected(self, rule: Rule) -> Outcome:
        """As the table says it."""
        if rule.who is Who.ANYBODY:
            return Outcome.REACHED
        if not self.signed_in:
            return Outcome.SIGN_IN
        if self.target is not None:
            shared = rule.shared
            reached = shared is not None and shared.permission in self.permissions and self.target in shared.targets
            return Outcome.REACHED if reached else Outcome.REFUSED
        if rule.who.is_member and self.role is None:
            return Outcome.HIDDEN
        if self.scope is not None and rule.scope is not self.scope:
            return Outcome.REFUSED
        if rule.who is Who.ADMINISTRATOR:
            return Outcome.REACHED if self.is_administrator else Outcome.REFUSED
        if rule.who.is_member and self.role is not None and rank(self.role) < rule.who:
            return Outcome.REFUSED
        return Outcome.REACHED


@pytest.fixture(scope="module")
async def clients(shared_system: System) -> AsyncIterator[Any]:
    """Makes clients that are closed in the end."""
    async with AsyncExitStack() as stack:

        async def client(token: str | None = None) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return await stack.enter_async_context(
                httpx.AsyncClient(base_url=shared_system.stack.url, timeout=60, headers=headers)
            )

        yield client


async def _joined(system: System, owner: Person, name: str, role: str) -> Person:
    invitation = await owner.call("POST", "/invitations", json={"role": role})
    person = await system.register(f"{name}@example.com")
    answer = await person.http.post(f"/api/v1/invited/{invitation['token']}/accept")
    assert answer.is_success, answer.text
    return person


async def _visitor(
    owner: Person, clients: Any, ids: Mapping[str, str], target: ShareTarget, allowed: set[SharePermission]
) -> Any:
    """Opens a new link."""
    wanted: dict[str, Any] = {"kind": target.value}
    if target is not ShareTarget.WORKSPACE:
        wanted["id"] = ids[f"{target.value}_id"]
    body = {"target": wanted, "permissions": sorted(permission.value for permission in allowed)}
    share = await owner.call("POST", "/shares", json=body)
    nobody = await clients()
    opened = await nobody.post(f"/api/v1/shared/{share['token']}/open", json={})
    assert opened.is_success, opened.text
    visitor: httpx.AsyncClient = await clients(opened.json()["access_token"])
    return visitor


@pytest.fixture(scope="module")
async def everybody(shared_system: System, clients: Any) -> dict[str, Somebody]:
    """A workspace with a document, a source that brought one, and a conversation; and all who come to it."""
    owner = await shared_system.register("owner@example.com")
    [accepted] = await owner.upload([("orchard.pdf", make_pdf([TEXT]))])
    note = {"kind": "text", "name": "The orchard", "config": {"title": "The orchard", "text": "Notes on the orchard."}}
    source = await owner.call("POST", "/sources", json=note)
    await owner.until_final([accepted["id"]], seconds=60)
    collected = await _collected(owner, source["id"])
    answer = await owner.ask(QUESTION)
    ids = {
        "workspace_id": owner.workspace,
        "document_id": accepted["id"],
        "source_id": source["id"],
        "session_id": answer["session_id"],
        "answer_id": answer["message_id"],
        "message_id": answer["message_id"],
    }
    people = [
        Somebody("nobody", await clients(), ids, signed_in=False),
        Somebody("stranger", (await shared_system.register("stranger@example.com")).http, ids),
        Somebody("administrator", shared_system.admin.http, ids, is_administrator=True),
        Somebody("viewer", (await _joined(shared_system, owner, "viewer", "viewer")).http, ids, Role.VIEWER),
        Somebody("editor", (await _joined(shared_system, owner, "editor", "editor")).http, ids, Role.EDITOR),
        Somebody("owner", owner.http, ids, Role.OWNER),
    ]
    for scope in Scope:
        made = await owner.http.post("/api/v1/users/me/api-keys", json={"name": scope.value, "scopes": [scope.value]})
        people.append(Somebody(f"key {scope.value}", await clients(made.json()["key"]), ids, Role.OWNER, scope=scope))
    for target in ShareTarget:
        allowed = {permission for permission in SharePermission if target in targets_of(permission)}
        theirs = {**ids, "document_id": collected} if target is ShareTarget.SOURCE else ids
        http = await _visitor(owner, clients, theirs, target, allowed)
        people.append(Somebody(f"link to {target.value}", http, theirs, target=target, permissions=frozenset(allowed)))
    for permission in SharePermission:
        http = await _visitor(owner, clients, ids, ShareTarget.WORKSPACE, {permission})
        granted = frozenset({permission})
        people.append(Somebody(f"link to {permission.value}", http, ids, target=ShareTarget.WORKSPACE, permissions=granted))
    return {person.name: person for person in people}


async def _collected(owner: Person, source_id: str) -> str:
    """The document that a source has brought."""
    documents: list[dict[str, Any]] = []

    async def ready() -> bool:
        documents[:] = (await owner.call("GET", f"/documents?source_id={source_id}"))["items"]
        return bool(documents) and documents[0]["status"] == "ready"

    await wait_until(ready, seconds=60, what="the source's document is ready", every=0.1)
    return str(documents[0]["id"])


# Of the owner's workspace these would leave nothing to go on with: whoever may do it does it to another one.
_ENDS = {"archive_workspace", "restore_workspace", "delete_workspace"}
# Whoever may do it does it to nobody and nothing.
_AIMED_AT_NOTHING = {"patch_member", "patch_user", "make_password_reset", "patch_share"}

NAMES = (
    *("nobody", "stranger", "administrator", "viewer", "editor", "owner"),
    *(f"key {scope.value}" for scope in Scope),
    *(f"link to {target.value}" for target in ShareTarget),
    *(f"link to {permission.value}" for permission in SharePermission),
)


async def _attempt(person: Somebody, call: Call) -> Answer:
    rule = RULES[call.name]
    ids = dict(person.ids)
    if call.name in _ENDS and person.expected(rule) is Outcome.REACHED and person.role is Role.OWNER:
        made = await person.http.post("/api/v1/workspaces", json={"name": "Another"})
        if made.is_success:  # else this caller may not make one, and is let do it to its own
            ids["workspace_id"] = made.json()["id"]
    elif call.name in _AIMED_AT_NOTHING or (call.method == "DELETE" and len(call.parameters) > 1):
        ids[call.parameters[-1]] = NOTHINGS_ID
    return await send(person.http, call, ids)


@pytest.mark.parametrize("name", NAMES)
async def test_everybody_reaches_what_the_table_lets_them_and_nothing_else(everybody: dict[str, Somebody], name: str) -> None:
    person = everybody[name]
    wrong = []
    for call in CALLS:
        answer = await _attempt(person, call)
        found, expected = outcome(answer), person.expected(RULES[call.name])
        if found is not expected:
            wrong.append(f"{call.method} {call.path} ({call.name}): {expected.value}, but {found.value}: {answer}")
    assert not wrong, f"{name}:\n" + "\n".join(wrong)


def test_table_and_api_have_the_same_operations() -> None:
    assert {call.name for call in CALLS} == set(RULES)


def test_everything_in_a_workspace_is_for_its_members() -> None:
    for call in CALLS:
        assert RULES[call.name].who.is_member == call.path.startswith(WORKSPACE), call


def test_everything_of_the_installation_is_for_administrators_in_person() -> None:
    for call in CALLS:
        rule = RULES[call.name]
        assert (rule.who is Who.ADMINISTRATOR) == call.path.startswith(ADMIN), call
        assert rule.who is not Who.ADMINISTRATOR or rule.scope is None, call


# What a viewer may do that is no reading: search, ask, and what is their own.
_OWN = {
    *("search", "compare_models", "post_chat", "regenerate_answer", "stop_answer", "give_feedback"),
    *("patch_session", "delete_session", "remove_member"),
}


def test_viewers_change_nothing_of_others() -> None:
    for call in CALLS:
        rule = RULES[call.name]
        if rule.who is Who.VIEWER and call.method != "GET":
            assert call.name in _OWN, call


def test_links_change_nothing_but_the_visitors_own_conversation() -> None:
    for call in CALLS:
        if RULES[call.name].shared is not None and call.method != "GET":
            assert call.name in _OWN - {"patch_session", "compare_models", "remove_member"}, call


def test_route_that_the_table_does_not_know_is_not_served() -> None:
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> None: ...

    app = FastAPI()
    app.include_router(router, prefix="/api/v1")
    with pytest.raises(LookupError, match="forgotten"):
        check(app.routes)

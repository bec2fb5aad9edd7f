"""API keys: made, listed, deleted, and what they open and do not open."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.db import Cause
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import ApiKey
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.api.permissions import RULES, Who
from docutalk_gateway.domain import Scope
from docutalk_gateway.use_cases.create_api_key import KEYS_MAX
from docutalk_local.testing.api_calls import every_call, send
from sqlalchemy import text

KEYS = "/api/v1/users/me/api-keys"


@pytest.fixture
async def person(gateway: Any) -> Any:
    """A new account: these tests count its keys."""
    return await gateway.person()


async def make_key(person: Any, **fields: Any) -> dict[str, Any]:
    """A new key with everything that its making answers."""
    answer = await person.http.post(KEYS, json={"name": "script", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def with_key(gateway: Any, key: str) -> Any:
    """A client that signs in with a key."""
    http = await gateway.client()
    http.headers["Authorization"] = f"Bearer {key}"
    return http


async def change_key(gateway: Any, key_id: str, what: str) -> None:
    """Changes the stored key, as time would."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text(f"UPDATE api_keys SET {what} WHERE id = :id"), {"id": UUID(key_id)})


async def last_use(gateway: Any, key: str) -> datetime | None:
    """When it is noted that the key was used."""
    async with gateway.db.read() as session:
        found = await repository.api_key_by_hash(session, hash_token(key))
    assert found is not None
    return found[0].last_used_at


async def test_key_is_shown_once_and_only_its_hash_is_stored(gateway: Any, person: Any) -> None:
    made = await make_key(person, name=" laptop ")
    assert made["key"].startswith("dtk_")
    assert len(made["key"]) == len("dtk_") + 43
    assert (made["name"], made["hint"]) == ("laptop", made["key"][:12])
    listed = (await person.http.get(KEYS)).json()
    assert listed == {"items": [{k: v for k, v in made.items() if k != "key"}], "total": 1, "page": 1, "per_page": 20}
    async with gateway.db.read() as session:
        row = (await session.execute(text("SELECT * FROM api_keys WHERE id = :id"), {"id": UUID(made["id"])})).one()
    assert row.key_hash == hashlib.sha256(made["key"].encode()).digest()
    assert made["key"] not in str(row)


async def test_key_signs_in_where_an_access_token_does(gateway: Any, person: Any) -> None:
    http = await with_key(gateway, (await make_key(person, scopes=["workspaces:read", "workspaces:manage"]))["key"])
    assert (await http.get("/api/v1/users/me")).json()["id"] == str(person.id)
    once = {"Idempotency-Key": uuid4().hex}
    made = await http.post("/api/v1/workspaces", json={"name": "Made by a script"}, headers=once)
    again = await http.post("/api/v1/workspaces", json={"name": "Made by a script"}, headers=once)
    assert made.status_code == 201, made.text
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (made.json()["id"], "true")
    assert (await person.http.get(f"/api/v1/workspaces/{made.json()['id']}")).json()["role"] == "owner"


async def test_key_never_reaches_the_workspace_of_somebody_else(gateway: Any, person: Any, ingest_service: Any) -> None:
    stranger = await gateway.person()
    document = ingest_service.put(stranger.workspace, uuid4())
    http = await with_key(gateway, (await make_key(person))["key"])
    w = f"/api/v1/workspaces/{stranger.workspace}"
    requests = [
        ("GET", w, None),
        ("GET", f"{w}/members", None),
        ("GET", f"{w}/documents", None),
        ("GET", f"{w}/documents/{document.document_id}", None),
        ("GET", f"{w}/documents/{document.document_id}/pages/1", None),
        ("POST", f"{w}/search", {"query": "secret"}),
        ("POST", f"{w}/chat", {"message": "secret"}),
        ("POST", "/v1/chat/completions", {"model": str(stranger.workspace), "messages": [{"role": "user", "content": "x"}]}),
        ("GET", f"/v1/models/{stranger.workspace}", None),
    ]
    for method, path, body in requests:
        answer = await http.request(method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", KEYS), ("GET", KEYS), ("DELETE", f"{KEYS}/{UUID(int=1)}"), ("GET", "/api/v1/admin/dead-letters")],
)
async def test_key_makes_no_keys_and_does_not_rule_the_installation(gateway: Any, method: str, path: str) -> None:
    admin = await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())
    made = await make_key(admin)
    http = await with_key(gateway, made["key"])
    refused = await http.request(method, path, json={"name": "another"} if method == "POST" else None)
    assert refused.status_code == 403
    assert refused.json()["detail"] == "Sign in with a password for this; an API key may not."
    assert (await admin.http.delete(f"{KEYS}/{made['id']}")).status_code == 204


async def test_deleted_key_signs_in_no_more(gateway: Any, person: Any) -> None:
    made = await make_key(person)
    http = await with_key(gateway, made["key"])
    assert (await http.get("/api/v1/users/me")).status_code == 200
    assert (await person.http.delete(f"{KEYS}/{made['id']}")).status_code == 204
    refused = await http.get("/api/v1/users/me")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.json()["detail"] == "This API key is not valid, or it was deleted. Make a new one."
    assert (await person.http.get(KEYS)).json()["items"] == []


async def test_expired_key_signs_in_no_more_and_is_still_listed(gateway: Any, person: Any) -> None:
    made = await make_key(person, expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    http = await with_key(gateway, made["key"])
    assert (await http.get("/api/v1/users/me")).status_code == 200
    await change_key(gateway, made["id"], "expires_at = '2026-01-02 03:04+00'")
    refused = await http.get("/api/v1/users/me")
    assert refused.status_code == 401
    assert refused.json()["detail"] == "This API key expired on 2026-01-02 at 03:04 UTC. Make a new one."
    assert [key["id"] for key in (await person.http.get(KEYS)).json()["items"]] == [made["id"]]


@pytest.mark.parametrize("key", ["dtk_", "dtk_wrong", "dtk_" + "a" * 43, "dtk_" + "é" * 20, "dtk_" + "x" * 10_000])
async def test_key_that_nobody_made_is_refused(gateway: Any, key: str) -> None:
    http = await gateway.client()
    refused = await http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {key}".encode("latin-1")})
    assert refused.status_code == 401
    assert refused.json()["type"] == "urn:docutalk:problem:not_signed_in"


async def test_somebody_else_can_not_delete_a_key(gateway: Any, person: Any) -> None:
    made = await make_key(await gateway.person())
    assert (await person.http.delete(f"{KEYS}/{made['id']}")).status_code == 404
    assert (await (await with_key(gateway, made["key"])).get("/api/v1/users/me")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " "},
        {"name": "a\x00"},
        {"name": "a", "expires_at": "soon"},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["everything"]},
        {"name": "a", "scopes": ["chat", "admin"]},
    ],
)
async def test_key_that_is_not_valid_is_refused(person: Any, body: dict[str, Any]) -> None:
    assert (await person.http.post(KEYS, json=body)).status_code == 422


async def test_key_that_would_have_expired_already_is_refused(person: Any) -> None:
    refused = await person.http.post(KEYS, json={"name": "late", "expires_at": "2020-01-01T00:00:00Z"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("expires_at has passed already.")


async def test_use_of_a_key_is_noted_once_a_minute(gateway: Any, person: Any) -> None:
    made = await make_key(person)
    http = await with_key(gateway, made["key"])
    assert made["last_used_at"] is None
    await asyncio.gather(*(http.get("/api/v1/users/me") for _ in range(5)))
    first = await last_use(gateway, made["key"])
    assert first is not None
    await http.get("/api/v1/users/me")
    assert await last_use(gateway, made["key"]) == first
    await change_key(gateway, made["id"], "last_used_at = now() - interval '61 seconds'")
    await http.get("/api/v1/users/me")
    again = await last_use(gateway, made["key"])
    assert again is not None
    assert again > first


async def test_person_has_a_hundred_keys_at_most_also_when_several_are_made_at_once(gateway: Any, person: Any) -> None:
    async with gateway.db.transaction(Cause.new()) as tx:
        for number in range(KEYS_MAX - 2):
            key = ApiKey(id=uuid4(), user_id=person.id, name=str(number), hint="dtk_", key_hash=uuid4().bytes, scopes=["chat"])
            await repository.add_api_key(tx.session, key, most=KEYS_MAX)
    answers = await asyncio.gather(*(person.http.post(KEYS, json={"name": "one more"}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
    listed = (await person.http.get(KEYS, params={"per_page": 30})).json()
    assert (listed["total"], len(listed["items"])) == (KEYS_MAX, 30)


async def test_key_has_the_scopes_that_it_was_made_with_and_they_are_listed(person: Any) -> None:
    made = await make_key(person, scopes=["search", "chat", "search"])
    usual = await make_key(person)
    assert made["scopes"] == ["chat", "search"]
    assert usual["scopes"] == ["chat", "documents:read", "documents:write", "search", "workspaces:read"]
    listed = (await person.http.get(KEYS)).json()["items"]
    assert [key["scopes"] for key in listed] == [usual["scopes"], made["scopes"]]


# Of the workspace of the tests these would leave nothing to go on with.
ENDS = {"archive_workspace", "restore_workspace"}


@pytest.mark.parametrize("scope", list(Scope))
async def test_scope_opens_what_the_table_says_and_nothing_else(gateway: Any, person: Any, scope: Scope) -> None:
    http = await with_key(gateway, (await make_key(person, scopes=[scope.value]))["key"])
    wrong = []
    for call in every_call():
        rule = RULES[call.name]
        if rule.who is Who.ANYBODY or call.name in ENDS:
            continue
        answer = await send(http, call, {"workspace_id": str(person.workspace)})
        assert answer.code != "not_signed_in", call
        opened, expected = answer.code != "not_allowed", rule.scope is scope
        if opened is not expected:
            wrong.append(f"{call.name}: {answer}")
    assert not wrong, "\n".join(wrong)


async def test_key_may_never_do_more_than_its_owner(gateway: Any, person: Any) -> None:
    owner = await gateway.person()
    invitation = await owner.http.post(f"/api/v1/workspaces/{owner.workspace}/invitations", json={"role": "viewer"})
    assert (await person.http.post(f"/api/v1/invited/{invitation.json()['token']}/accept")).status_code == 200
    http = await with_key(gateway, (await make_key(person, scopes=[scope.value for scope in Scope]))["key"])
    refused = await http.patch(f"/api/v1/workspaces/{owner.workspace}", json={"name": "Mine"})
    assert refused.status_code == 403
    assert refused.json()["detail"] == "Only an owner of this workspace may do this."


async def test_key_without_the_scope_says_which_one_it_needs(gateway: Any, person: Any) -> None:
    http = await with_key(gateway, (await make_key(person, scopes=["search"]))["key"])
    refused = await http.get("/api/v1/workspaces")
    assert refused.status_code == 403
    assert refused.json()["detail"] == "This API key has not the scope 'workspaces:read', which this needs. Make one that has."

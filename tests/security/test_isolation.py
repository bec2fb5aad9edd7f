"""Two people: neither can see, search, stream or cite what is the other's, by any call that the API has.

The calls come from the OpenAPI document, so that a new route is tried as well; one that this test cannot place fails it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import httpx
import pytest
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.api_calls import ADMIN, QUESTION, WORKSPACE, Call, every_call, send
from docutalk_local.testing.system import Person, System

SECRET = "The harvest of the moon orchard brought in 4711 crates of silver pears."

# Everything that is not inside a workspace, and who may call it. A path that is in neither place fails the test.
PUBLIC = {
    *("/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth/token", "/api/v1/auth/refresh", "/api/v1/auth/logout"),
    *("/api/v1/auth/options", "/api/v1/auth/reset", "/api/v1/auth/openid", "/api/v1/auth/openid/callback"),
    *("/api/v1/auth/openid/token", "/api/v1/erasures/{erasure_id}"),
    *("/api/v1/invited/{token}", "/api/v1/shared/{token}", "/api/v1/shared/{token}/open"),
    *("/health", "/livez", "/readyz", "/metrics"),
}
OWN = {
    *("/api/v1/users/me", "/api/v1/users/me/password", "/api/v1/workspaces", "/api/v1/imports", "/api/v1/imports/{import_id}"),
    *("/api/v1/users/me/api-keys", "/api/v1/users/me/api-keys/{key_id}", "/api/v1/invited/{token}/accept"),
    *("/api/v1/users/me/sessions", "/api/v1/users/me/sessions/{sign_in_id}"),
    *("/v1/models", "/v1/models/{model}", "/v1/chat/completions", "/v1/embeddings"),
}
CALLS = every_call()
INSIDE = [call for call in CALLS if call.path.startswith(WORKSPACE)]


@dataclass(frozen=True)
class Property:
    """What belongs to one person."""

    person: Person
    ids: dict[str, str]


@pytest.fixture(scope="module")
async def alice(shared_system: System) -> Property:
    """Has a document and a conversation about it."""
    person = await shared_system.register("alice@example.com")
    [accepted] = await person.upload([("orchard.pdf", make_pdf([SECRET]))])
    documents = await person.until_final([accepted["id"]], seconds=60)
    assert documents[accepted["id"]]["status"] == "ready"
    answer = await person.ask(QUESTION)
    assert [citation["document_id"] for citation in answer["citations"]] == [accepted["id"]], answer
    note = {"kind": "text", "name": "The orchard", "config": {"title": "The orchard", "text": "Notes on the orchard."}}
    source = await person.call("POST", "/sources", json=note)
    ids = {
        "source_id": source["id"],
        "workspace_id": person.workspace,
        "document_id": accepted["id"],
        "number": "1",
        "session_id": answer["session_id"],
        "answer_id": answer["message_id"],
        "message_id": answer["message_id"],
    }
    return Property(person, ids)


@pytest.fixture(scope="module")
async def mallory(shared_system: System) -> Person:
    """Somebody else, with a workspace of their own."""
    return await shared_system.register("mallory@example.com")


async def status(http: httpx.AsyncClient, call: Call, ids: dict[str, str]) -> tuple[int, str]:
    """How a call ends."""
    answer = await send(http, call, ids)
    return answer.status, answer.text


def test_every_call_is_placed() -> None:
    placed = {call.path for call in INSIDE} | PUBLIC | OWN
    strangers = {call.path for call in CALLS if call.path not in placed and not call.path.startswith(ADMIN)}
    assert strangers == set(), "say in this test who may call them"
    assert len(INSIDE) > 10


@pytest.mark.parametrize("call", INSIDE, ids=lambda call: call.name)
async def test_workspace_of_another_person_does_not_exist_for_a_stranger(alice: Property, mallory: Person, call: Call) -> None:
    code, text = await status(mallory.http, call, alice.ids)
    assert code == 404, text
    assert "orchard" not in text
    assert SECRET not in text


@pytest.mark.parametrize("call", INSIDE, ids=lambda call: call.name)
async def test_administrator_of_the_server_is_no_member_either(shared_system: System, alice: Property, call: Call) -> None:
    code, text = await status(shared_system.admin.http, call, alice.ids)
    assert code == 404, text


@pytest.mark.parametrize("call", [c for c in INSIDE if c.path.count("{") > 1], ids=lambda call: call.name)
async def test_id_of_another_person_does_not_exist_in_ones_own_workspace(alice: Property, mallory: Person, call: Call) -> None:
    code, text = await status(mallory.http, call, {**alice.ids, "workspace_id": mallory.workspace})
    assert code == 404, text
    assert SECRET not in text


@pytest.mark.parametrize("call", [c for c in CALLS if c.path not in PUBLIC], ids=lambda call: call.name)
async def test_call_without_a_sign_in_is_refused(shared_system: System, alice: Property, call: Call) -> None:
    async with httpx.AsyncClient(base_url=shared_system.stack.url) as nobody:
        code, _ = await status(nobody, call, alice.ids)
    assert code == 401


@pytest.mark.parametrize("call", [c for c in CALLS if c.path.startswith(ADMIN)], ids=lambda call: call.name)
async def test_call_for_administrators_is_refused_to_others(mallory: Person, call: Call) -> None:
    code, _ = await status(mallory.http, call, {})
    assert code == 403


async def test_search_finds_nothing_of_another_person(alice: Property, mallory: Person) -> None:
    for mode in ("hybrid", "semantic", "keyword"):
        assert await alice.person.search(QUESTION, mode=mode), "the owner finds it"
        assert await mallory.search(QUESTION, mode=mode) == []
        assert await mallory.search(QUESTION, mode=mode, filters={"document_ids": [alice.ids["document_id"]]}) == []


async def test_chat_cites_nothing_of_another_person(alice: Property, mallory: Person) -> None:
    for body in ({}, {"document_ids": [alice.ids["document_id"]]}):
        answer = await mallory.ask(QUESTION, **body)
        assert answer["citations"] == []
        assert answer["supported"] is False
        assert "4711" not in answer["response"]


async def test_chat_does_not_go_on_in_the_session_of_another_person(alice: Property, mallory: Person) -> None:
    path = f"/api/v1/workspaces/{mallory.workspace}/chat"
    answer = await mallory.http.post(path, json={"message": QUESTION, "session_id": alice.ids["session_id"]})
    assert answer.status_code == 404


async def test_lists_hold_nothing_of_another_person(alice: Property, mallory: Person) -> None:
    mine = f"/api/v1/workspaces/{mallory.workspace}"
    assert (await mallory.http.get(f"{mine}/documents")).json()["items"] == []
    sessions = (await mallory.http.get(f"{mine}/chat/sessions")).json()["items"]
    assert alice.ids["session_id"] not in {session["id"] for session in sessions}
    workspaces = (await mallory.http.get("/api/v1/workspaces")).json()["items"]
    assert [workspace["id"] for workspace in workspaces] == [mallory.workspace]


async def test_same_bytes_do_not_tell_that_somebody_else_has_them(alice: Property, mallory: Person) -> None:
    [accepted] = await mallory.upload([("orchard.pdf", make_pdf([SECRET]))])
    assert "duplicate_of" not in accepted
    assert accepted["id"] != alice.ids["document_id"]
    await mallory.until_final([accepted["id"]], seconds=60)
    await mallory.call("DELETE", f"/documents/{accepted['id']}")


async def test_stream_of_a_workspace_tells_nothing_of_another(alice: Property, mallory: Person) -> None:
    path = f"/api/v1/workspaces/{mallory.workspace}/events/stream"
    async with mallory.http.stream("GET", path, headers={"Last-Event-ID": "1"}, timeout=30) as response:
        assert response.status_code == 200
        [theirs] = await alice.person.upload([("more.txt", b"Another secret of the orchard.")])
        await alice.person.until_final([theirs["id"]], seconds=60)
        [mine] = await mallory.upload([("mine.txt", b"Something of my own.")])
        seen: set[str] = set()
        async with asyncio.timeout(30):
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    seen.add(event["document_id"])
                    if event["document_id"] == mine["id"]:
                        break
    assert alice.ids["document_id"] not in seen
    assert theirs["id"] not in seen


async def test_owner_still_has_it_all(alice: Property) -> None:
    for call in INSIDE:
        if call.method == "GET" and alice.ids.keys() >= set(call.parameters):
            code, text = await status(alice.person.http, call, alice.ids)
            assert code == 200, f"{call.name}: {text}"

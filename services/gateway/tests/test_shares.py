"""Share links over HTTP: made, opened, watched, ended; and that a visitor gets what is shared and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause
from docutalk_gateway.adapters import account_repository, member_repository, repository, share_repository
from docutalk_gateway.adapters.audit_log import SYSTEM, Actor, ActorKind
from docutalk_gateway.adapters.tokens import AccessTokens
from docutalk_gateway.api.chat_shapes import ChatAnswer, ChatMessage
from docutalk_gateway.api.permissions import targets_of
from docutalk_gateway.api.visitors import NOBODY, told_answer, told_message
from docutalk_gateway.domain import NotSignedIn, Role, SharePermission, ShareTarget
from docutalk_gateway.use_cases.identify_caller import Credentials, Grant
from docutalk_gateway.use_cases.keep_signing_keys import rotate_signing_key
from docutalk_gateway.use_cases.log_visit import visit_logged
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from sqlalchemy import text
from structlog.testing import capture_logs

from .conftest import somebody_waits_for

FEED: dict[str, Any] = {"kind": "feed", "config": {"url": "https://example.com/feed?key=secret"}}
PASSWORD = "only for you"
GONE = "There is no such link, or it has ended. Ask whoever gave it to you for a new one."


def url(person: Any, path: str = "") -> str:
    """Below this person's workspace."""
    return f"/api/v1/workspaces/{person.workspace}{path}"


@dataclass
class World:
    """A workspace with a document that was uploaded and one that a source brought, and the stand-ins that know them."""

    gateway: Any
    person: Any
    ingest: Any
    embed: Any
    chat: Any
    uploaded: UUID
    collected: UUID
    source: UUID

    async def share(self, kind: str, permissions: list[str], **more: Any) -> dict[str, Any]:
        """Makes a link."""
        ids = {"document": self.uploaded, "source": self.source}
        target = {"kind": kind, **({"id": str(more.pop("id", ids.get(kind)))} if kind != "workspace" else {})}
        body = {"target": target, "permissions": permissions, **more}
        made = await self.person.http.post(url(self.person, "/shares"), json=body)
        assert made.status_code == 201, made.text
        return dict(made.json())

    async def look(self, token: str) -> httpx.Response:
        """As somebody who has the link and nothing else."""
        http: httpx.AsyncClient = await self.gateway.client()
        return await http.get(f"/api/v1/shared/{token}")

    async def open(self, token: str, **body: Any) -> httpx.Response:
        """Opens a link."""
        http: httpx.AsyncClient = await self.gateway.client()
        return await http.post(f"/api/v1/shared/{token}/open", json=body, headers={"User-Agent": "a visitor's browser"})

    async def visit(self, made: dict[str, Any], **body: Any) -> httpx.AsyncClient:
        """Somebody who has opened a link."""
        opened = await self.open(made["token"], **body)
        assert opened.status_code == 200, opened.text
        http: httpx.AsyncClient = await self.gateway.client()
        http.headers["Authorization"] = f"Bearer {opened.json()['access_token']}"
        return http

    async def shared(self, kind: str, permissions: list[str], **more: Any) -> httpx.AsyncClient:
        """Somebody who has opened a new link."""
        return await self.visit(await self.share(kind, permissions, **more))

    async def log(self, made: dict[str, Any]) -> list[dict[str, Any]]:
        """The log of a link, newest first."""
        found = await self.person.http.get(url(self.person, f"/shares/{made['id']}/accesses"))
        assert found.status_code == 200, found.text
        return list(found.json()["items"])

    async def audited(self, made: dict[str, Any]) -> list[str]:
        """What the audit log says of a link."""
        async with self.gateway.db.read() as session:
            statement = text("SELECT action FROM audit_log WHERE target_id = :share ORDER BY id")
            return list(await session.scalars(statement, {"share": UUID(made["id"])}))


@pytest.fixture
async def world(gateway: Any, person: Any, ingest_service: Any, embed_service: Any, chat_service: Any) -> World:
    uploaded, collected, source = uuid7(), uuid7(), uuid7()
    ingest_service.put(person.workspace, uploaded, filename="plans.txt", queue_position=3, eta_seconds=9.0)
    ingest_service.put(
        person.workspace, collected, filename="news.txt", source_id=source, origin="https://example.com/?key=secret"
    )
    for document_id in (uploaded, collected):
        ingest_service.pages[document_id, 1] = "the text"
        ingest_service.versions[document_id] = [
            ingest.DocumentVersion(
                version=1,
                filename="plans.txt",
                content_type="text/plain",
                size=1,
                sha256="0" * 64,
                object_key="k",
                created_by=person.id,
                created_at=datetime.now(UTC),
            )
        ]
    now = datetime.now(UTC)
    ingest_service.sources[source] = ingest.Source(
        source_id=source,
        workspace_id=person.workspace,
        name="The news",
        created_by=person.id,
        created_at=now,
        updated_at=now,
        **FEED,
    )
    return World(gateway, person, ingest_service, embed_service, chat_service, uploaded, collected, source)


async def member(world: World, role: Role) -> Any:
    """Somebody else in the workspace."""
    other = await world.gateway.person()
    async with world.gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, world.person.workspace, other.id, role)
    return other


# Made ------------------------------------------------------------------------------------------------------------


async def test_link_is_shown_once_and_listed_without_its_token(world: World) -> None:
    made = await world.share("document", ["copy", "view"], name=" For Ada ")
    token = made["token"]
    assert made["link"] == f"{world.gateway.url}/api/v1/shared/{token}"
    assert made["permissions"] == ["view", "copy"]
    assert made["target"] == {"kind": "document", "id": str(world.uploaded)}
    listed = await world.person.http.get(url(world.person, "/shares"))
    assert token not in listed.text
    [item] = listed.json()["items"]
    assert listed.json()["total"] == 1
    assert item["name"] == "For Ada"
    assert (item["state"], item["uses"], item["max_uses"], item["has_password"]) == ("active", 0, None, False)
    assert token.startswith(item["hint"])
    assert (await world.person.http.get(url(world.person, f"/shares/{made['id']}"))).json() == item
    async with world.gateway.db.read() as session:
        stored = await session.scalar(text("SELECT to_jsonb(s)::text FROM shares s WHERE id = :id"), {"id": UUID(made["id"])})
    assert token not in str(stored)
    assert await world.audited(made) == ["share.created"]


async def test_link_is_at_the_public_address_of_the_installation(gateway_with: Any) -> None:
    async with gateway_with(public_url="https://docs.example.com") as other:
        admin = await other.sign_in("admin@docutalk.local", "correct horse battery staple")
        body = {"target": {"kind": "workspace"}, "permissions": ["view"]}
        made = (await admin.http.post(url(admin, "/shares"), json=body)).json()
    assert made["link"] == f"https://docs.example.com/api/v1/shared/{made['token']}"


@pytest.mark.parametrize("permission", list(SharePermission))
@pytest.mark.parametrize("target", list(ShareTarget))
async def test_link_grants_only_what_its_target_can_have(world: World, target: ShareTarget, permission: SharePermission) -> None:
    session = (await world.person.http.post(url(world.person, "/chat"), json={"message": "Is it so?"})).json()["session_id"]
    ids = {ShareTarget.DOCUMENT: str(world.uploaded), ShareTarget.SOURCE: str(world.source), ShareTarget.SESSION: session}
    where = {"kind": target.value, **({"id": ids[target]} if target in ids else {})}
    body = {"target": where, "permissions": [permission.value]}
    made = await world.person.http.post(url(world.person, "/shares"), json=body)
    if target in targets_of(permission):
        assert made.status_code == 201, made.text
    else:
        assert made.status_code == 422
        assert made.json()["detail"].startswith(f"A link to a {target.value} cannot grant {permission.value}. It can grant view")


@pytest.mark.parametrize(
    "changes",
    [
        {"permissions": []},
        {"permissions": ["own"]},
        {"target": {"kind": "document"}},
        {"target": {"kind": "workspace", "id": str(uuid4())}},
        {"target": {"kind": "post", "id": str(uuid4())}},
        {"max_uses": 0},
        {"password": "short"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2120-01-01T00:00:00"},
        {"token": "mine"},
    ],
)
async def test_link_that_makes_no_sense_is_refused(world: World, changes: dict[str, Any]) -> None:
    body = {"target": {"kind": "workspace"}, "permissions": ["view"], **changes}
    assert (await world.person.http.post(url(world.person, "/shares"), json=body)).status_code == 422


async def test_what_is_not_there_or_not_ones_own_cannot_be_shared(world: World) -> None:
    other = await member(world, Role.EDITOR)
    session = (await other.http.post(url(world.person, "/chat"), json={"message": "Is it so?"})).json()["session_id"]
    elsewhere = uuid7()
    world.ingest.put(other.workspace, elsewhere)
    for kind, target in [("document", uuid4()), ("document", elsewhere), ("source", uuid4()), ("session", session)]:
        body = {"target": {"kind": kind, "id": str(target)}, "permissions": ["view"]}
        assert (await world.person.http.post(url(world.person, "/shares"), json=body)).status_code == 404
    assert (await world.person.http.get(url(world.person, "/shares"))).json()["total"] == 0


async def test_viewer_neither_makes_nor_sees_links_and_any_editor_revokes_them(world: World) -> None:
    made = await world.share("workspace", ["view"])
    viewer, editor = await member(world, Role.VIEWER), await member(world, Role.EDITOR)
    body = {"target": {"kind": "workspace"}, "permissions": ["view"]}
    assert (await viewer.http.post(url(world.person, "/shares"), json=body)).status_code == 403
    for method, path in [
        ("GET", ""),
        ("GET", f"/{made['id']}"),
        ("DELETE", f"/{made['id']}"),
        ("GET", f"/{made['id']}/accesses"),
    ]:
        assert (await viewer.http.request(method, url(world.person, f"/shares{path}"))).status_code == 403
    assert (await editor.http.delete(url(world.person, f"/shares/{made['id']}"))).status_code == 204
    assert (await world.open(made["token"])).status_code == 404
    stranger = await world.gateway.person()
    for path in ("", "/accesses"):
        theirs = f"/api/v1/workspaces/{stranger.workspace}/shares/{made['id']}{path}"
        assert (await stranger.http.get(theirs)).status_code == 404


# Opened ----------------------------------------------------------------------------------------------------------


async def test_looking_tells_what_a_link_is_of_and_is_no_use(world: World) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    made = await world.share("document", ["view", "chat"], max_uses=1, expires_at=ends.isoformat())
    for _ in range(3):
        looked = await world.look(made["token"])
        assert looked.status_code == 200
    assert looked.json() == {
        "target": {"kind": "document", "name": "plans.txt"},
        "permissions": ["view", "chat"],
        "needs_password": False,
        "expires_at": ends.isoformat().replace("+00:00", "Z"),
    }
    assert str(world.person.workspace) not in looked.text
    assert (await world.open(made["token"])).status_code == 200
    session = (await world.person.http.post(url(world.person, "/chat"), json={"message": "Is it so?"})).json()["session_id"]
    names = {}
    for kind, more in [("workspace", {}), ("source", {}), ("session", {"id": session})]:
        made = await world.share(kind, ["view"], **more)
        names[kind] = (await world.look(made["token"])).json()["target"]["name"]
    assert names == {"workspace": "New", "source": "The news", "session": "A question"}


async def test_opening_gives_a_token_for_the_visit(world: World) -> None:
    made = await world.share("document", ["view"])
    opened = await world.open(made["token"])
    body = opened.json()
    assert body["token_type"] == "bearer"
    assert body["workspace_id"] == str(world.person.workspace)
    assert body["target"] == made["target"]
    assert body["permissions"] == ["view"]
    assert 11.9 * 3600 < body["expires_in"] <= 12 * 3600
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["vis"] == body["visit_id"]
    assert abs(claims["exp"] - datetime.now(UTC).timestamp() - body["expires_in"]) < 5
    ends = datetime.now(UTC) + timedelta(minutes=5)
    short = (await world.open((await world.share("document", ["view"], expires_at=ends.isoformat()))["token"])).json()
    assert 200 < short["expires_in"] <= 300
    assert await world.audited(made) == ["share.created", "share.opened"]


async def test_visit_outlasts_a_new_signing_key(world: World) -> None:
    opened = (await world.open((await world.share("document", ["view"]))["token"])).json()
    await rotate_signing_key(
        world.gateway.db,
        AccessTokens(seconds=60),
        world.gateway.settings.jwt_secret.get_secret_value(),
        Cause.new(),
        SYSTEM,
        at_once=False,
    )
    async with world.gateway.db.read() as session:
        kept = await repository.signing_keys(session, datetime.now(UTC) + timedelta(seconds=opened["expires_in"]))
    assert jwt.get_unverified_header(opened["access_token"])["kid"] in {key.id for key in kept[1:]}


async def test_link_is_never_opened_more_often_than_it_may(world: World) -> None:
    made = await world.share("workspace", ["view"], max_uses=5)
    opened = await asyncio.gather(*(world.open(made["token"]) for _ in range(20)))
    assert sorted(answer.status_code for answer in opened) == [200] * 5 + [404] * 15
    shown = (await world.person.http.get(url(world.person, f"/shares/{made['id']}"))).json()
    assert (shown["uses"], shown["state"]) == (5, "used_up")
    log = await world.log(made)
    assert [entry["reason"] for entry in log if entry["action"] == "refused"] == ["used_up"] * 15
    assert len({entry["visit_id"] for entry in log if entry["action"] == "opened"}) == 5
    # Who is in stays in.
    http = await world.gateway.client()
    token = next(answer.json()["access_token"] for answer in opened if answer.status_code == 200)
    assert (await http.get(world.person.documents, headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_ended_link_is_as_unknown_as_one_that_never_was(world: World) -> None:
    revoked, expired, used_up = [await world.share("workspace", ["view"], max_uses=1) for _ in range(3)]
    await world.person.http.delete(url(world.person, f"/shares/{revoked['id']}"))
    async with world.gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(
            text("UPDATE shares SET expires_at = now() - interval '1 second' WHERE id = :id"), {"id": UUID(expired["id"])}
        )
    await world.open(used_up["token"])
    for token in (revoked["token"], expired["token"], used_up["token"], "never-was", "x" * 200):
        for answer in (await world.look(token), await world.open(token), await world.open(token, password=PASSWORD)):
            assert answer.status_code == 404
            assert answer.json()["detail"] == GONE
    for made, reason in [(revoked, "revoked"), (expired, "expired"), (used_up, "used_up")]:
        log = await world.log(made)
        assert [entry["reason"] for entry in log[:3]] == [reason] * 3
        assert log[0]["user_agent"] == "a visitor's browser"
        shown = (await world.person.http.get(url(world.person, f"/shares/{made['id']}"))).json()
        assert shown["state"] == reason
        assert (await world.audited(made)).count("share.refused") == 3


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_log_is_not_filled_by_who_tries_an_ended_link_for_ever(world: World) -> None:
    made = await world.share("workspace", ["view"])
    await world.person.http.delete(url(world.person, f"/shares/{made['id']}"))
    http = await world.gateway.client()
    answers = await asyncio.gather(*(http.get(f"/api/v1/shared/{made['token']}") for _ in range(70)))
    assert {answer.status_code for answer in answers} == {404}
    found = await world.person.http.get(url(world.person, f"/shares/{made['id']}/accesses"))
    assert 60 <= found.json()["total"] < 70


async def test_password_hides_what_a_link_is_of_and_is_needed_to_open_it(world: World) -> None:
    made = await world.share("document", ["view"], password=PASSWORD, max_uses=1)
    looked = (await world.look(made["token"])).json()
    assert looked["needs_password"] is True
    assert looked["target"] == {"kind": "document", "name": None}
    for body in ({}, {"password": "a wrong password"}, {"password": ""}):
        refused = await world.open(made["token"], **body)
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:docutalk:problem:share_password"
    assert [entry["reason"] for entry in await world.log(made)] == ["password", "password"]
    assert (await world.open(made["token"], password=PASSWORD)).status_code == 200
    assert (await world.person.http.get(url(world.person, f"/shares/{made['id']}"))).json()["uses"] == 1


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_passwords_cannot_be_guessed_fast_and_right_ones_do_not_count(world: World) -> None:
    made = await world.share("document", ["view"], password=PASSWORD)
    async with world.gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM rate_windows WHERE bucket LIKE 'share:password:%'"))
    for _ in range(3):
        assert (await world.open(made["token"], password=PASSWORD)).status_code == 200
    guesses = await asyncio.gather(*(world.open(made["token"], password=f"guess number {n}") for n in range(20)))
    assert {guess.status_code for guess in guesses} == {403}
    throttled = await world.open(made["token"], password=PASSWORD)
    assert throttled.status_code == 429
    assert 0 < int(throttled.headers["retry-after"]) <= 900
    assert (await world.log(made))[0]["reason"] == "too_many_passwords"
    async with world.gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM rate_windows WHERE bucket LIKE 'share:password:%'"))


# Changed and ended -----------------------------------------------------------------------------------------------


async def test_change_holds_at_once_for_who_is_in(world: World) -> None:
    made = await world.share("document", ["view", "search"])
    http = await world.visit(made)
    query = {"query": "plans"}
    assert (await http.post(url(world.person, "/search"), json=query)).status_code == 200
    changed = await world.person.http.patch(
        url(world.person, f"/shares/{made['id']}"), json={"permissions": ["view"], "name": "x"}
    )
    assert (changed.status_code, changed.json()["permissions"]) == (200, ["view"])
    assert (await http.post(url(world.person, "/search"), json=query)).status_code == 403
    assert (await http.get(world.person.documents)).status_code == 200
    assert await world.audited(made) == ["share.created", "share.opened", "share.changed"]


async def test_new_password_ends_visits_and_no_password_lets_everybody_in(world: World) -> None:
    made = await world.share("document", ["view"], password=PASSWORD)
    http = await world.visit(made, password=PASSWORD)
    path = url(world.person, f"/shares/{made['id']}")
    assert (await world.person.http.patch(path, json={"password": "another password"})).json()["has_password"] is True
    assert (await http.get(world.person.documents)).status_code == 401
    assert (await world.open(made["token"], password=PASSWORD)).status_code == 403
    http = await world.visit(made, password="another password")
    assert (await world.person.http.patch(path, json={"password": None})).json()["has_password"] is False
    assert (await http.get(world.person.documents)).status_code == 200
    assert (await world.open(made["token"])).status_code == 200


async def test_change_that_cannot_be_is_refused(world: World) -> None:
    made = await world.share("source", ["view"])
    path = url(world.person, f"/shares/{made['id']}")
    for _ in range(2):
        await world.open(made["token"])
    session = (await world.person.http.post(url(world.person, "/chat"), json={"message": "Is it so?"})).json()["session_id"]
    conversation = await world.share("session", ["view"], id=session)
    assert (await world.person.http.patch(path, json={"max_uses": 1})).status_code == 409
    assert (await world.person.http.patch(path, json={"max_uses": 2})).json()["state"] == "used_up"
    senseless: list[dict[str, Any]] = [
        {"permissions": []},
        {"permissions": None},
        {"target": {"kind": "workspace"}},
        {"expires_at": "2020-01-01T00:00:00Z"},
    ]
    for body in senseless:
        assert (await world.person.http.patch(path, json=body)).status_code == 422, body
    of_session = url(world.person, f"/shares/{conversation['id']}")
    assert (await world.person.http.patch(of_session, json={"permissions": ["view", "chat"]})).status_code == 422
    for _ in range(2):
        assert (await world.person.http.delete(path)).status_code == 204
    assert (await world.person.http.patch(path, json={"name": "Back"})).status_code == 409
    assert (await world.person.http.delete(url(world.person, f"/shares/{uuid4()}"))).status_code == 404
    assert (await world.audited(made)).count("share.revoked") == 1


async def test_revoked_link_ends_visits_with_their_next_request_and_keeps_its_log(world: World) -> None:
    made = await world.share("document", ["view"])
    http = await world.visit(made)
    assert (await http.get(world.person.documents)).status_code == 200
    await world.person.http.delete(url(world.person, f"/shares/{made['id']}"))
    refused = await http.get(world.person.documents)
    assert refused.status_code == 401
    assert "not shared any more" in refused.json()["detail"]
    assert [entry["action"] for entry in await world.log(made)] == ["get_documents", "opened"]


async def test_visit_ends_when_its_time_is_over(world: World) -> None:
    made = await world.share("document", ["view"])
    http = await world.visit(made)
    async with world.gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(
            text("UPDATE share_visits SET expires_at = now() WHERE share_id = :id"), {"id": UUID(made["id"])}
        )
    assert (await http.get(world.person.documents)).status_code == 401


# What a visitor gets ---------------------------------------------------------------------------------------------


async def listed(http: httpx.AsyncClient, world: World, **params: Any) -> list[str]:
    """The ids of a list of documents, which also says how many they are."""
    found = await http.get(world.person.documents, params=params)
    assert found.status_code == 200, found.text
    ids = [item["id"] for item in found.json()["items"]]
    assert found.json()["total"] == len(ids) or params
    return ids


async def test_link_to_a_document_lists_and_reads_that_one_only(world: World) -> None:
    http = await world.shared("document", ["view"])
    mine = [str(world.uploaded)]
    pending = await world.person.upload(("pending.txt", b"pending"))
    assert pending.status_code == 202
    assert await listed(http, world) == mine
    for params in ({"q": "PLANS"}, {"status": "ready"}, {"content_type": "text/plain"}, {"per_page": 1}):
        assert await listed(http, world, **params) == mine, params
    empty: list[dict[str, Any]] = [
        {"q": "news"},
        {"q": "pending"},
        {"status": "failed"},
        {"content_type": "text/html"},
        {"source_id": str(world.source)},
        {"page": 2},
    ]
    for params in empty:
        assert await listed(http, world, **params) == [], params
    for path in ("", "/versions", "/pages/1"):
        assert (await http.get(f"{world.person.documents}/{world.uploaded}{path}")).status_code == 200
        for other in (world.collected, pending.json()["documents"][0]["id"], uuid4(), str(world.collected).upper(), "no-id"):
            assert (await http.get(f"{world.person.documents}/{other}{path}")).status_code == 404
    world.ingest.documents.pop(world.uploaded)
    assert await listed(http, world) == []


async def test_link_to_a_source_lists_and_reads_what_it_brought_only(world: World) -> None:
    http = await world.shared("source", ["view"])
    await world.person.upload(("pending.txt", b"pending for the source"))
    assert await listed(http, world) == [str(world.collected)]
    assert await listed(http, world, source_id=str(world.source)) == [str(world.collected)]
    for params in ({"q": "plans"}, {"q": "pending"}, {"status": "queued"}, {"source_id": str(uuid4())}):
        assert await listed(http, world, **params) == [], params
    for path in ("", "/versions", "/pages/1"):
        assert (await http.get(f"{world.person.documents}/{world.collected}{path}")).status_code == 200
        for other in (world.uploaded, uuid4(), "no-id"):
            assert (await http.get(f"{world.person.documents}/{other}{path}")).status_code == 404
    assert (await http.get(url(world.person, f"/sources/{world.source}"))).status_code == 403


async def test_link_to_a_workspace_reads_every_document_of_it_and_of_no_other(world: World) -> None:
    http = await world.shared("workspace", ["view"])
    assert set(await listed(http, world)) == {str(world.uploaded), str(world.collected)}
    other = await world.gateway.person()
    elsewhere = uuid7()
    world.ingest.put(other.workspace, elsewhere)
    assert (await http.get(f"{world.person.documents}/{elsewhere}")).status_code == 404
    assert (await http.get(f"{other.documents}/{elsewhere}")).status_code == 404
    assert (await http.get(other.documents)).status_code == 404


async def test_search_and_questions_are_narrowed_to_what_is_shared(world: World) -> None:
    nothing, other = [str(UUID(int=0))], [str(world.collected)]
    cases: list[tuple[str, dict[str, Any], dict[str, list[str]]]] = [
        ("document", {}, {"document_ids": [str(world.uploaded)], "source_ids": []}),
        ("document", {"document_ids": other}, {"document_ids": nothing, "source_ids": []}),
        ("document", {"document_ids": [str(world.uploaded), *other]}, {"document_ids": [str(world.uploaded)], "source_ids": []}),
        ("source", {}, {"document_ids": [], "source_ids": [str(world.source)]}),
        ("source", {"source_ids": [str(uuid4())]}, {"document_ids": [], "source_ids": nothing}),
        (
            "source",
            {"document_ids": [str(world.uploaded)]},
            {"document_ids": [str(world.uploaded)], "source_ids": [str(world.source)]},
        ),
        ("workspace", {"document_ids": other}, {"document_ids": other, "source_ids": []}),
    ]
    for kind, filters, expected in cases:
        http = await world.shared(kind, ["search", "chat"])
        for mode in ("hybrid", "semantic", "keyword"):
            found = await http.post(url(world.person, "/search"), json={"query": "plans", "mode": mode, "filters": filters})
            assert found.status_code == 200
            sent = world.embed.asked[-1].filters.model_dump(mode="json")
            assert {name: sent[name] for name in expected} == expected
            assert sent["isolated"] == (kind != "workspace")
        body: dict[str, Any] = {"message": "Is it so?", "filters": filters, "selected_text": "the text"}
        asked = await http.post(url(world.person, "/chat"), json=body)
        assert asked.status_code == 200, asked.text
        sent = world.chat.posted[-1].filters.model_dump(mode="json")
        assert {name: sent[name] for name in expected} == expected
        assert sent["isolated"] == (kind != "workspace")
        again = url(world.person, f"/chat/sessions/{asked.json()['session_id']}/messages/{asked.json()['message_id']}/regenerate")
        assert (await http.post(again)).status_code == 200
        sent = world.chat.posted[-1].filters.model_dump(mode="json")
        assert {name: sent[name] for name in expected} == expected
        assert sent["isolated"] == (kind != "workspace")


async def test_question_about_named_documents_is_narrowed_too(world: World) -> None:
    http = await world.shared("document", ["chat"])
    body = {"message": "Is it so?", "document_ids": [str(world.collected)]}
    assert (await http.post(url(world.person, "/chat"), json=body)).status_code == 200
    posted = world.chat.posted[-1]
    assert posted.filters.document_ids == [UUID(int=0)]
    assert posted.document_ids == []


async def test_places_and_likeness_are_told_of_what_is_shared_only(world: World) -> None:
    place = embed.Place(place_id=1, name="Ys", kind="city", country="FR", latitude=48, longitude=-4, population=1)
    world.embed.places = [embed.PlaceNamed(place=place, documents=1, mentions=1)]
    world.embed.similar[world.uploaded] = []
    for kind, status in [("document", 403), ("source", 403), ("workspace", 200)]:
        http = await world.shared(kind, ["search"])
        assert (await http.get(url(world.person, "/places"))).status_code == status
        assert (await http.get(f"{world.person.documents}/{world.uploaded}/similar")).status_code == status
    http = await world.shared("document", ["search"])
    assert (await http.get(f"{world.person.documents}/{world.uploaded}/places")).status_code == 200
    assert (await http.get(f"{world.person.documents}/{world.collected}/places")).status_code == 404


async def test_file_itself_needs_the_permission_to_copy(world: World) -> None:
    accepted = (await world.person.upload(("plans.txt", b"the very bytes"))).json()["documents"][0]["id"]
    content = f"{world.person.documents}/{accepted}/content"
    looking = await world.shared("document", ["view"], id=accepted)
    assert (await looking.get(content)).status_code == 403
    copying = await world.shared("document", ["copy"], id=accepted)
    assert (await copying.get(content)).content == b"the very bytes"
    assert (await copying.get(f"{world.person.documents}/{accepted}")).status_code == 403


async def test_visitor_is_not_told_where_documents_come_from_and_who_brought_them(world: World) -> None:
    http = await world.shared("workspace", ["view"])
    for document_id in (world.uploaded, world.collected):
        shown = (await http.get(f"{world.person.documents}/{document_id}")).json()
        assert shown["source_id"] is shown["origin"] is None
        assert shown["progress"]["queue_position"] is shown["progress"]["eta_seconds"] is None
        [version] = (await http.get(f"{world.person.documents}/{document_id}/versions")).json()["items"]
        assert version["created_by"] == str(NOBODY)
    assert "secret" not in (await http.get(world.person.documents)).text
    http = await world.shared("source", ["view"])
    assert {item["source_id"] for item in (await http.get(world.person.documents)).json()["items"]} == {str(world.source)}


async def test_archived_workspace_is_shown_to_visitors_and_takes_no_questions(world: World) -> None:
    http = await world.shared("document", ["view", "chat"])
    async with world.gateway.db.transaction(Cause.new()) as tx:
        archive = text("UPDATE workspaces SET archived_at = now() WHERE id = :id")
        await tx.session.execute(archive, {"id": world.person.workspace})
    assert (await http.get(world.person.documents)).status_code == 200
    assert (await http.post(url(world.person, "/chat"), json={"message": "Is it so?"})).status_code == 409


# Conversations ---------------------------------------------------------------------------------------------------


async def test_visitors_conversations_are_their_own(world: World) -> None:
    made = await world.share("document", ["view", "chat", "comment", "copy"])
    first, second = await world.visit(made), await world.visit(made)
    answer = (await first.post(url(world.person, "/chat"), json={"message": "Is it so?"})).json()
    session = url(world.person, f"/chat/sessions/{answer['session_id']}")
    message = f"{session}/messages/{answer['message_id']}"
    stream = url(world.person, f"/chat/answers/{answer['message_id']}/stream")
    calls: list[tuple[str, str, Any]] = [
        ("GET", session, None),
        ("GET", f"{session}/messages", None),
        ("GET", f"{session}/export", None),
        ("POST", f"{message}/feedback", {"rating": 1}),
        ("POST", f"{message}/stop", None),
        ("POST", f"{message}/regenerate", None),
        ("GET", stream, None),
        ("POST", url(world.person, "/chat"), {"message": "And so?", "session_id": answer["session_id"]}),
    ]
    for method, path, body in calls:
        assert (await second.request(method, path, json=body)).status_code == 404, path
        assert (await world.person.http.request(method, path, json=body)).status_code == 404, path
    assert (await second.get(url(world.person, "/chat/sessions"))).json()["total"] == 0
    for method, path, body in calls:
        assert (await first.request(method, path, json=body)).status_code in {200, 202}, path
    assert (await first.get(url(world.person, "/chat/sessions"))).json()["total"] == 1
    assert (await first.patch(session, json={"title": "Mine"})).status_code == 403
    assert (await first.delete(session)).status_code == 204


async def test_answer_is_streamed_to_a_visitor(world: World, read_events: Any) -> None:
    http = await world.shared("document", ["chat"])
    headers = {"Accept": "text/event-stream"}
    async with http.stream("POST", url(world.person, "/chat"), json={"message": "Is it so?"}, headers=headers) as response:
        assert response.status_code == 200
        events = [event async for event in read_events(response)]
    assert [event.event for event in events] == ["start", "delta", "delta", "delta", "delta", "citation", "done"]
    path = url(world.person, f"/chat/answers/{events[0].data['answer_id']}/stream")
    async with http.stream("GET", path) as response:
        assert [event.event async for event in read_events(response)][-1] == "done"


async def test_running_answer_ends_when_its_link_is_revoked(world: World, read_events: Any) -> None:
    world.chat.hold = asyncio.Event()
    made = await world.share("document", ["chat"])
    http = await world.visit(made)
    headers = {"Accept": "text/event-stream"}
    seen = []
    async with (
        asyncio.timeout(20),
        http.stream("POST", url(world.person, "/chat"), json={"message": "Is it so?"}, headers=headers) as response,
    ):
        async for event in read_events(response):
            seen.append(event.event)
            if event.event == "citation":
                await world.person.http.delete(url(world.person, f"/shares/{made['id']}"))
    world.chat.hold.set()
    assert seen[-1] == "citation"


async def test_link_to_a_conversation_shows_that_one_as_it_is_and_nothing_else(world: World) -> None:
    first = (await world.person.http.post(url(world.person, "/chat"), json={"message": "Is it so?"})).json()["session_id"]
    second = (await world.person.http.post(url(world.person, "/chat"), json={"message": "And that?"})).json()["session_id"]
    http = await world.shared("session", ["view", "copy"], id=first)
    session = url(world.person, f"/chat/sessions/{first}")
    assert (await http.get(session)).json()["title"] == "A question"
    assert [item["text"] for item in (await http.get(f"{session}/messages")).json()["items"]] == ["Is it so?"]
    assert "Is it so?" in (await http.get(f"{session}/export", params={"format": "markdown"})).text
    for path in ("", "/messages", "/export"):
        assert (await http.get(url(world.person, f"/chat/sessions/{second}{path}"))).status_code == 404
    refused: list[tuple[str, str, Any]] = [
        ("GET", "/chat/sessions", None),
        ("GET", "/documents", None),
        ("GET", f"/documents/{world.uploaded}", None),
        ("POST", "/search", {"query": "plans"}),
        ("POST", "/chat", {"message": "More?", "session_id": first}),
        ("PATCH", f"/chat/sessions/{first}", {"title": "Mine"}),
        ("DELETE", f"/chat/sessions/{first}", None),
        ("POST", f"/chat/sessions/{first}/messages/{uuid4()}/feedback", {"rating": 1}),
    ]
    for method, path, body in refused:
        assert (await http.request(method, url(world.person, path), json=body)).status_code == 403, path
    assert (await (await world.shared("session", ["view"], id=first)).get(f"{session}/export")).status_code == 403


def test_visitor_sees_neither_costs_nor_where_quotes_of_somebody_elses_conversation_lead() -> None:
    usage = chat.Usage(input_tokens=1, output_tokens=2, cost_usd=0.5)
    now, document_id = datetime.now(UTC), uuid4()
    citation = chat.Citation(marker=1, document_id=document_id, filename="a.pdf", page=3, start=5, end=9, quote="true")
    message = ChatMessage.of(
        chat.SessionMessage(
            message_id=uuid4(),
            role="assistant",
            text="So [1].",
            citations=[citation],
            created_at=now,
            usage=usage,
            rating=-1,
            comment="Nonsense!",
        )
    )
    answer = ChatAnswer.of(
        chat.Answer(
            answer_id=uuid4(),
            session_id=uuid4(),
            message_id=uuid4(),
            response="So [1].",
            supported=True,
            citations=[citation],
            created_at=now,
            usage=usage,
        )
    )

    def grant(target: ShareTarget) -> Grant:
        return Grant(uuid4(), uuid4(), target, uuid4(), frozenset(SharePermission), uuid4())

    assert told_message(None, message) == message
    assert told_answer(None, answer) == answer
    own = told_message(grant(ShareTarget.DOCUMENT), message)
    assert (own.usage, own.rating, own.citations[0].document_id) == (None, -1, document_id)
    assert told_answer(grant(ShareTarget.DOCUMENT), answer).usage is None
    theirs = told_message(grant(ShareTarget.SESSION), message)
    assert (theirs.usage, theirs.rating, theirs.comment) == (None, None, None)
    assert (theirs.citations[0].document_id, theirs.citations[0].quote) == (NOBODY, "true")


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_visitors_of_a_link_ask_together_no_more_than_it_may(gateway_with: Any, world: World) -> None:
    made = await world.share("document", ["chat"])
    async with gateway_with(share_questions_per_hour=3) as other:
        statuses = []
        for _ in range(2):
            http = await other.client()
            opened = (await http.post(f"/api/v1/shared/{made['token']}/open")).json()
            http.headers["Authorization"] = f"Bearer {opened['access_token']}"
            for n in range(2):
                answer = await http.post(url(world.person, "/chat"), json={"message": f"Question {n}?"})
                statuses.append(answer.status_code)
    assert statuses == [200, 200, 200, 429]
    assert answer.json()["detail"].startswith("3 questions an hour may be asked with this link.")
    assert int(answer.headers["retry-after"]) > 0
    assert (await world.person.http.post(url(world.person, "/chat"), json={"message": "Me too?"})).status_code == 200


# The log ---------------------------------------------------------------------------------------------------------


async def test_every_request_of_a_visitor_is_logged_with_what_it_was_about(world: World) -> None:
    made = await world.share("document", ["view", "search"])
    http = await world.visit(made)
    http.headers["User-Agent"] = "a reader"
    document = f"{world.person.documents}/{world.uploaded}"
    await http.get(f"{document}/pages/1")
    await http.post(url(world.person, "/search"), json={"query": "plans"})
    await http.get(f"{world.person.documents}/{world.collected}")
    await http.get(f"{document}/content")
    await http.get("/api/v1/users/me")
    await http.post("/v1/chat/completions", json={"model": "x", "messages": [{"role": "user", "content": "?"}]})
    log = await world.log(made)
    assert [(entry["action"], entry["document_id"], entry["reason"]) for entry in reversed(log)] == [
        ("opened", None, None),
        ("get_page", str(world.uploaded), None),
        ("search", None, None),
        ("get_one_document", str(world.collected), "not_found"),
        ("get_content", str(world.uploaded), "not_allowed"),
        ("me", None, "not_allowed"),
        ("create_chat_completion", None, "not_allowed"),
    ]
    assert {entry["user_agent"] for entry in log} == {"a visitor's browser", "a reader"}
    assert {entry["address"] for entry in log} == {"127.0.0.1"}
    assert len({entry["visit_id"] for entry in log}) == 1
    paged = await world.person.http.get(url(world.person, f"/shares/{made['id']}/accesses"), params={"page": 2, "per_page": 3})
    assert [item["id"] for item in paged.json()["items"]] == [entry["id"] for entry in log[3:6]]
    assert paged.json()["total"] == len(log)


async def test_other_protocols_do_not_take_visitors(world: World) -> None:
    http = await world.shared("workspace", [permission.value for permission in SharePermission])
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    assert (await http.post("/mcp", json=call, headers=headers)).status_code == 403
    assert (await http.get("/v1/models")).status_code == 403
    assert (await http.post("/v1/embeddings", json={"model": "x", "input": "?"})).status_code == 403


async def test_token_of_a_link_is_not_logged(world: World) -> None:
    made = await world.share("workspace", ["view"])
    http = await world.gateway.client()
    with capture_logs() as said:
        for path in ("", "/open", "/", "/open/", "/opne", "/a/b"):
            for method in ("GET", "POST", "DELETE"):
                await http.request(method, f"/api/v1/shared/{made['token']}{path}")
    paths = [entry["path"] for entry in said if entry["event"] == "request"]
    assert len(paths) == 18
    assert "/shared/{token}/open" in paths
    assert made["token"] not in str(said)


async def test_log_and_visits_are_swept_when_their_time_is_over(world: World) -> None:
    made = await world.share("document", ["view"])
    http = await world.visit(made)
    await world.visit(made)
    await http.get(world.person.documents)
    share = {"id": UUID(made["id"])}
    async with world.gateway.db.transaction(Cause.new()) as tx:
        old = "UPDATE share_accesses SET at = now() - interval '91 days' WHERE share_id = :id AND action = 'opened'"
        await tx.session.execute(text(old), share)
        first = "(SELECT min(id::text)::uuid FROM share_visits WHERE share_id = :id)"
        await tx.session.execute(text(f"UPDATE share_visits SET expires_at = now() WHERE id = {first}"), share)
    await sweep_expired(world.gateway.db)
    assert [entry["action"] for entry in await world.log(made)] == ["get_documents"]
    async with world.gateway.db.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM share_visits WHERE share_id = :id"), share) == 1
        assert await share_repository.share_of(session, world.person.workspace, UUID(made["id"])) is not None


async def test_as_many_visits_as_there_are_end_at_once(world: World) -> None:
    """For example those of a week for which the installation was off."""
    made = await world.share("document", ["view", "chat"])
    asking = await world.visit(made)
    assert (await asking.post(url(world.person, "/chat"), json={"message": "Is it so?"})).status_code == 200
    share = {"id": UUID(made["id"])}
    async with world.gateway.db.transaction(Cause.new()) as tx:
        some = "SELECT gen_random_uuid(), :id, now() FROM generate_series(1, 40000)"
        await tx.session.execute(text(f"INSERT INTO share_visits (id, share_id, expires_at) {some}"), share)
        await tx.session.execute(text("UPDATE share_visits SET expires_at = now() WHERE share_id = :id"), share)
    await sweep_expired(world.gateway.db)
    [visitor] = {entry["visit_id"] for entry in await world.log(made) if entry["action"] == "post_chat"}
    async with world.gateway.db.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM share_visits WHERE share_id = :id"), share) == 0
        assert await session.scalar(text("SELECT count(*) FROM erasures WHERE subject_id = :id"), {"id": UUID(visitor)}) == 1


async def test_request_on_its_way_when_its_link_is_deleted_is_refused_like_a_later_one(world: World) -> None:
    made = await world.share("document", ["view"])
    visit_id = UUID((await world.open(made["token"])).json()["visit_id"])
    grant = Grant(
        UUID(made["id"]),
        world.person.workspace,
        ShareTarget.DOCUMENT,
        world.uploaded,
        frozenset({SharePermission.VIEW}),
        world.person.id,
    )
    async with world.gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM shares WHERE id = :id"), {"id": grant.share_id})
    with pytest.raises(NotSignedIn):
        async with visit_logged(
            world.gateway.db,
            Cause.new(),
            Actor(ActorKind.VISITOR, visit_id),
            Credentials(visit_id, grant=grant),
            operation="get_documents",
            document_id=None,
        ):
            pass


async def test_what_visitors_asked_is_erased_when_their_visit_is_over(world: World) -> None:
    made = await world.share("document", ["view", "chat"])
    asking, looking = await world.visit(made), await world.visit(made)
    assert (await asking.post(url(world.person, "/chat"), json={"message": "Is it so?"})).status_code == 200
    assert (await looking.get(world.person.documents)).status_code == 200
    async with world.gateway.db.transaction(Cause.new()) as tx:
        ended = "UPDATE share_visits SET expires_at = now() WHERE share_id = :id"
        await tx.session.execute(text(ended), {"id": UUID(made["id"])})
    await sweep_expired(world.gateway.db)
    [visitor] = {entry["visit_id"] for entry in await world.log(made) if entry["action"] == "post_chat"}
    everybody = {entry["visit_id"] for entry in await world.log(made)}
    assert len(everybody) == 2
    async with world.gateway.db.read() as session:
        erased = await session.scalars(text("SELECT subject_id::text FROM erasures WHERE kind = 'user'"))
        assert everybody & set(erased) == {visitor}


@pytest.mark.parametrize(
    ("lost", "status"),
    [
        ("DELETE FROM members WHERE user_id = :user AND workspace_id = :workspace", 404),
        ("UPDATE members SET role = 'viewer' WHERE user_id = :user AND workspace_id = :workspace", 403),
        ("UPDATE users SET disabled_at = now() WHERE id = :user", 404),
        ("UPDATE workspaces SET archived_at = now() WHERE id = :workspace", 409),
    ],
)
async def test_link_that_is_being_made_by_who_may_not_any_more_is_not_made(world: World, lost: str, status: int) -> None:
    """They were let in a moment before. Whoever takes a right away ends the links that there are, and would not find this one."""
    other, gateway, workspace_id = await member(world, Role.EDITOR), world.gateway, world.person.workspace
    body = {"target": {"kind": "workspace"}, "permissions": ["view"]}
    async with gateway.db.transaction(Cause.new()) as tx:
        await account_repository.lock_account(tx.session, other.id)
        await member_repository.lock_workspace(tx.session, workspace_id)
        making = asyncio.create_task(other.http.post(url(world.person, "/shares"), json=body))
        await somebody_waits_for(tx.session, gateway.db)
        ids = {"user": other.id, "workspace": workspace_id}
        await tx.session.execute(text(lost), {name: id_ for name, id_ in ids.items() if f":{name}" in lost})
    assert (await making).status_code == status
    async with gateway.db.read() as session:
        assert await share_repository.shares_of(session, workspace_id, offset=0, limit=10) == ([], 0)


async def test_links_of_who_becomes_a_viewer_end(world: World) -> None:
    made = await world.share("workspace", ["view"])
    http = await world.visit(made)
    other = await world.gateway.person()
    path = url(world.person, "/members")
    invitation = (await world.person.http.post(url(world.person, "/invitations"), json={"role": "owner"})).json()
    assert (await other.http.post(f"/api/v1/invited/{invitation['token']}/accept")).status_code == 200
    assert (await other.http.patch(f"{path}/{world.person.id}", json={"role": "editor"})).status_code == 200
    assert (await http.get(world.person.documents)).status_code == 200
    assert (await other.http.patch(f"{path}/{world.person.id}", json={"role": "viewer"})).status_code == 200
    assert (await http.get(world.person.documents)).status_code == 401
    assert (await world.open(made["token"])).status_code == 404

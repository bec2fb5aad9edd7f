"""Members come, change and go; a workspace always has an owner."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import DocumentReady
from docutalk_common.db import Cause
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Share, ShareVisit
from docutalk_gateway.domain import Role, SharePermission, ShareTarget
from docutalk_gateway.use_cases.check_access import still_enters
from docutalk_gateway.use_cases.identify_caller import Credentials, Grant
from sqlalchemy import select, text, update

PASSWORD = "a long enough password"
OWNER_MISSING = "A workspace needs an owner"


@pytest.fixture(scope="module")
async def friend(gateway: Any) -> Any:
    """Somebody else for all tests of the module, whose workspaces are their own."""
    return await gateway.person()


async def join(gateway: Any, person: Any, who: Any, role: Role) -> str:
    """Makes `who` a member of this person's workspace; its path."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, who.id, role)
    return f"/api/v1/workspaces/{person.workspace}"


async def roles(person: Any) -> dict[str, str]:
    """Who is what in this person's workspace."""
    listing = (await person.http.get(f"/api/v1/workspaces/{person.workspace}/members")).json()
    return {member["user_id"]: member["role"] for member in listing["items"]}


async def test_owner_changes_the_role_of_a_member(gateway: Any, person: Any, friend: Any) -> None:
    workspace = await join(gateway, person, friend, Role.VIEWER)
    assert (await friend.http.delete(f"{workspace}/documents/{uuid7()}")).status_code == 403
    changed = await person.http.patch(f"{workspace}/members/{friend.id}", json={"role": "editor"})
    assert (changed.status_code, changed.json()["role"]) == (200, "editor")
    assert (await friend.http.patch(f"{workspace}/members/{friend.id}", json={"role": "owner"})).status_code == 403
    assert await roles(person) == {str(person.id): "owner", str(friend.id): "editor"}
    assert (await person.http.patch(f"{workspace}/members/{uuid7()}", json={"role": "editor"})).status_code == 404


async def disable(gateway: Any, person: Any) -> None:
    """As an administrator does it."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("UPDATE users SET disabled_at = now() WHERE id = :id"), {"id": person.id})


@pytest.mark.parametrize("other", ["editor", "disabled owner"])
@pytest.mark.parametrize("way", ["leaves", "is demoted", "goes for good"])
async def test_last_owner_stays_one(gateway: Any, person: Any, way: str, other: str) -> None:
    second = await gateway.person()
    workspace = await join(gateway, person, second, Role.EDITOR if other == "editor" else Role.OWNER)
    if other == "disabled owner":
        await disable(gateway, second)
    before = await roles(person)
    mine = f"{workspace}/members/{person.id}"
    answer = await {
        "leaves": lambda: person.http.delete(mine),
        "is demoted": lambda: person.http.patch(mine, json={"role": "viewer"}),
        "goes for good": lambda: person.http.request("DELETE", "/api/v1/users/me", json={"password": PASSWORD}),
    }[way]()
    assert answer.status_code == 409
    assert (OWNER_MISSING if way != "goes for good" else "would have no owner") in answer.json()["detail"]
    assert await roles(person) == before


async def test_workspace_is_not_given_to_whose_account_is_disabled(gateway: Any, person: Any) -> None:
    second = await gateway.person()
    workspace = await join(gateway, person, second, Role.EDITOR)
    await disable(gateway, second)
    refused = await person.http.post(f"{workspace}/owner", json={"user_id": str(second.id)})
    assert (refused.status_code, refused.json()["detail"]) == (409, "The account of this member is disabled. Name another one.")


async def test_two_owners_who_leave_at_once_leave_one_behind(gateway: Any, person: Any, friend: Any) -> None:
    workspace = await join(gateway, person, friend, Role.OWNER)
    answers = await asyncio.gather(*(who.http.delete(f"{workspace}/members/{who.id}") for who in (person, friend)))
    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_transferred_workspace_has_another_owner_and_the_old_one_as_editor(gateway: Any, person: Any, friend: Any) -> None:
    workspace = await join(gateway, person, friend, Role.VIEWER)
    transferred = await person.http.post(f"{workspace}/owner", json={"user_id": str(friend.id)})
    assert (transferred.status_code, transferred.json()["role"]) == (200, "editor")
    assert await roles(person) == {str(person.id): "editor", str(friend.id): "owner"}
    assert (await person.http.post(f"{workspace}/owner", json={"user_id": str(friend.id)})).status_code == 403


async def test_workspace_is_transferred_to_another_member_only(person: Any, friend: Any) -> None:
    workspace = f"/api/v1/workspaces/{person.workspace}"
    assert (await person.http.post(f"{workspace}/owner", json={"user_id": str(friend.id)})).status_code == 404
    assert (await person.http.post(f"{workspace}/owner", json={"user_id": str(person.id)})).status_code == 409


async def test_two_transfers_at_once_leave_one_owner(gateway: Any, person: Any, friend: Any) -> None:
    workspace = await join(gateway, person, friend, Role.EDITOR)
    third = await gateway.person()
    await join(gateway, person, third, Role.EDITOR)
    to = [person.http.post(f"{workspace}/owner", json={"user_id": str(who.id)}) for who in (friend, third)]
    assert sorted(answer.status_code for answer in await asyncio.gather(*to)) == [200, 403]
    assert sorted((await roles(person)).values()) == ["editor", "editor", "owner"]


async def test_editor_removes_nobody_but_themselves(gateway: Any, person: Any, friend: Any) -> None:
    workspace = await join(gateway, person, friend, Role.EDITOR)
    assert (await friend.http.delete(f"{workspace}/members/{person.id}")).status_code == 403
    assert (await friend.http.delete(f"{workspace}/members/{friend.id}")).status_code == 204
    assert (await friend.http.get(workspace)).status_code == 404


async def test_share_links_of_a_removed_member_end(gateway: Any, person: Any, friend: Any) -> None:
    workspace = await join(gateway, person, friend, Role.EDITOR)
    links = {}
    async with gateway.db.transaction(Cause.new()) as tx:
        for who in (person, friend):
            links[who.id] = share = Share(id=uuid7(), workspace_id=person.workspace, target="workspace", created_by=who.id)
            share.target_id, share.permissions, share.token_hash, share.hint = person.workspace, ["view"], share.id.bytes, "x"
            tx.session.add(share)
    assert (await person.http.delete(f"{workspace}/members/{friend.id}")).status_code == 204
    async with gateway.db.read() as session:
        ended = {
            share.created_by: share.revoked_at is not None
            for share in await session.scalars(select(Share).where(Share.workspace_id == person.workspace))
        }
    assert ended == {person.id: False, friend.id: True}


async def test_default_workspace_of_a_removed_member_is_their_oldest_other_one(gateway: Any, person: Any) -> None:
    leaver = await gateway.person()
    workspace = await join(gateway, person, leaver, Role.VIEWER)
    async with gateway.db.transaction(Cause.new()) as tx:
        user = await repository.user_by_id(tx.session, leaver.id)
        user.default_workspace_id = person.workspace
    assert (await person.http.delete(f"{workspace}/members/{leaver.id}")).status_code == 204
    assert (await leaver.http.get("/api/v1/users/me")).json()["default_workspace_id"] == str(leaver.workspace)


@pytest.mark.parametrize("reason", ["member removed", "signed out", "key deleted", "workspace deleted"])
async def test_running_event_stream_ends_within_seconds_of_losing_access(
    gateway: Any, person: Any, stack: Any, read_events: Any, reason: str
) -> None:
    guest = await gateway.person()
    workspace = await join(gateway, person, guest, Role.VIEWER)
    wire = await Wire.connect(stack.nats_operator)
    key: dict[str, Any] = {"id": ""}
    headers = {}
    if reason == "key deleted":
        key = (await guest.http.post("/api/v1/users/me/api-keys", json={"name": "k"})).raise_for_status().json()
        headers = {"Authorization": f"Bearer {key['key']}"}
    async with asyncio.timeout(20), guest.http.stream("GET", f"{workspace}/events/stream", headers=headers) as response:
        await wire.send(
            envelope_for(DocumentReady(workspace_id=person.workspace, document_id=uuid7(), page_count=1, chunk_count=1))
        )
        events = read_events(response)
        assert (await anext(events)).event == "document.ready"
        other = await gateway.client()
        other.headers["Authorization"] = guest.http.headers["Authorization"]
        ended = {
            "member removed": lambda: person.http.delete(f"{workspace}/members/{guest.id}"),
            "signed out": lambda: other.post("/api/v1/auth/logout", json={"refresh_token": guest.refresh_token}),
            "key deleted": lambda: other.delete(f"/api/v1/users/me/api-keys/{key['id']}"),
            "workspace deleted": lambda: person.http.delete(workspace),
        }[reason]
        assert (await ended()).is_success
        assert [event async for event in events] == []
    await wire.nc.close()


async def test_stream_of_a_visitor_ends_when_the_link_is_revoked(gateway: Any, person: Any) -> None:
    """Without the stream: what it asks every few seconds."""
    share_id, visit_id, now = uuid7(), uuid7(), datetime.now(UTC)
    permissions = frozenset({SharePermission.VIEW, SharePermission.CHAT})
    grant = Grant(share_id, person.workspace, ShareTarget.WORKSPACE, person.workspace, permissions, person.id)

    async def enters() -> bool:
        async with gateway.db.read() as session:
            return await still_enters(session, Credentials(visit_id, grant=grant), person.workspace)

    async with gateway.db.transaction(Cause.new()) as tx:
        share = Share(id=share_id, workspace_id=person.workspace, target="workspace", created_by=person.id)
        share.target_id, share.permissions, share.token_hash, share.hint = person.workspace, sorted(permissions), b"t", "x"
        tx.session.add(share)
        await tx.session.flush()
        tx.session.add(ShareVisit(id=visit_id, share_id=share_id, expires_at=now + timedelta(hours=1)))
    assert await enters()
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(update(Share).where(Share.id == share_id).values(permissions=["view"]))
    assert not await enters(), "a permission was taken away"
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(update(Share).where(Share.id == share_id).values(permissions=["view", "chat"]))
    assert await enters()
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(update(Share).where(Share.id == share_id).values(revoked_at=now))
    assert not await enters()
